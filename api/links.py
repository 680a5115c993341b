"""OpenAPI links: which answer holds what which request asks for. The one table; readers and test tools follow it."""

from typing import Any, Final

_MEMORY: Final = "/v1/memory/{memory_id}"
_OF_ADDED: Final = {"memory_id": "$response.body#/id", "namespace": "$request.body#/namespace"}
_SAME_MEMORY: Final = {"memory_id": "$request.path.memory_id", "namespace": "$request.query.namespace"}
_JOB: Final = {"job_id": "$response.body#/job_id"}
_SAME_JOB: Final = {"job_id": "$request.path.job_id"}
_SAME_NAMESPACE: Final = {"name": "$request.path.name"}
_IN_NAMESPACE: Final = {"namespace": "$request.path.name"}
_RECEIPT: Final = {"deletion_id": "$response.header.Ostraka-Deletion"}

# (method, path, status): for each (method, path) that may follow, where its parameters are found.
_LINKS: Final[dict[tuple[str, str, str], dict[tuple[str, str], dict[str, str]]]] = {
    ("post", "/v1/memory", status): {
        ("get", _MEMORY): _OF_ADDED,
        ("get", f"{_MEMORY}/history"): _OF_ADDED,
        ("patch", _MEMORY): _OF_ADDED,
        ("delete", _MEMORY): _OF_ADDED,
        ("get", "/v1/jobs/{job_id}"): _JOB,
    }
    for status in ("201", "202")
} | {
    ("post", "/v1/memory/bulk", "202"): {
        ("get", "/v1/jobs/{job_id}"): _JOB,
        ("post", "/v1/jobs/{job_id}/retry"): _JOB,
    },
    ("get", "/v1/jobs/{job_id}", "200"): {("post", "/v1/jobs/{job_id}/retry"): _SAME_JOB},
    ("get", _MEMORY, "200"): {("patch", _MEMORY): _SAME_MEMORY, ("delete", _MEMORY): _SAME_MEMORY},
    ("patch", _MEMORY, "200"): {
        ("get", _MEMORY): _SAME_MEMORY,
        ("get", f"{_MEMORY}/history"): _SAME_MEMORY,
        ("delete", _MEMORY): _SAME_MEMORY,
    },
    ("delete", _MEMORY, "204"): {
        ("get", _MEMORY): _SAME_MEMORY,
        ("get", "/v1/deletions/{deletion_id}"): _RECEIPT,
    },
    ("delete", "/v1/memory", "200"): {
        ("get", "/v1/deletions/{deletion_id}"): {"deletion_id": "$response.body#/deletion_id"},
    },
    ("put", "/v1/namespaces/{name}", "200"): {
        ("get", "/v1/namespaces/{name}"): _SAME_NAMESPACE,
        ("delete", "/v1/namespaces/{name}"): _SAME_NAMESPACE,
        ("get", "/v1/memory"): _IN_NAMESPACE,
    },
    ("delete", "/v1/namespaces/{name}", "204"): {
        ("get", "/v1/namespaces/{name}"): _SAME_NAMESPACE,
        ("get", "/v1/deletions/{deletion_id}"): _RECEIPT,
    },
}


def add_links(openapi: dict[str, Any]) -> None:
    """Put the table into a contract. Raises ``KeyError`` when it names what the contract does not have."""
    paths = openapi["paths"]
    for (method, path, status), following in _LINKS.items():
        links = paths[path][method]["responses"][status].setdefault("links", {})
        for (next_method, next_path), parameters in following.items():
            links[paths[next_path][next_method]["summary"]] = {
                "operationId": paths[next_path][next_method]["operationId"],
                "parameters": parameters,
            }
