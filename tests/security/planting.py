"""Planting marks through every route: what is kept, what is asked, and what is refused."""

import json
from collections.abc import Callable
from typing import Any

import httpx

from tests.integration.processes import eventually
from tests.security.marks import Marks


class Planter:
    """A caller whose every name and word is a mark; it remembers whole requests, and what refusals said."""

    def __init__(self, client: httpx.Client, marks: Marks, name: str) -> None:
        """``name`` tells this round's marks from another's."""
        self.client = client
        self.marks = marks
        self.name = name
        self.requests: list[tuple[str, bytes]] = []
        self.refusals: list[tuple[str, bytes]] = []
        self.namespace = self.mark("namespace")
        self.session = self.mark("session")
        self.tag = self.mark("tag")
        self.key, self.inner = self.mark("metadata key"), self.mark("metadata key inside")
        self.value = self.mark("metadata value")

    def mark(self, place: str) -> str:
        return self.marks.plant(f"{self.name}: {place}")

    def other(self, place: str) -> str:
        return self.marks.plant_other(f"{self.name}: {place}")

    def call(self, method: str, path: str, status: int | set[int], **more: Any) -> httpx.Response:
        answer = self.client.request(method, path, **more)
        wanted = {status} if isinstance(status, int) else status
        assert answer.status_code in wanted, (method, answer.status_code, answer.text[:300])
        if sent := answer.request.content:
            self.requests.append((answer.request.url.path, sent))
        return answer

    def refused(self, what: str, method: str, path: str, status: int | set[int], **more: Any) -> None:
        answer = self.call(method, path, status, **more)
        self.refusals.append((what, answer.content))

    def memory(self, place: str, **more: Any) -> dict[str, Any]:
        """Return a memory of marks all over, with the names that a person would see in it."""
        return {
            "namespace": self.namespace,
            "content": (
                f"Dr. {self.mark(f'{place}, person')} of {self.mark(f'{place}, firm')} Ltd. sent "
                f"/home/{self.mark(f'{place}, file')}.pdf to {self.mark(f'{place}, mail')}@example.org: "
                f"{self.other(f'{place}, words')}."
            ),
            "session": self.session,
            "tags": [self.tag, self.mark(f"{place}, tag")],
            "metadata": {
                self.key: {self.inner: [self.value, self.mark(f"{place}, metadata value")]},
                "n": self.other(f"{place}, metadata value"),
            },
            "occurred_at": "2026-03-14T18:30:00Z",
            **more,
        }

    def plant_memories(self) -> None:
        """Write by every route that writes, wait until all of it is searchable, and change some of it."""
        once = {"Idempotency-Key": self.mark("idempotency key")}
        own = self.mark("memory id")
        added = self.memory("add", id=own)
        for _ in range(2):
            self.call("POST", "/v1/memory", 202, json=added, headers=once)
        self.call("POST", "/v1/memory", 202, json=self.memory("add superseding", supersedes=self.mark("superseded id")))
        lines = [self.memory(f"bulk line {number}", id=self.mark(f"bulk id {number}")) for number in range(3)]
        broken = {
            "namespace": self.namespace,
            "content": self.mark("bulk, a line that is rejected"),
            "ttl_seconds": "x",
        }
        ndjson = "\n".join(json.dumps(line) for line in [*lines, broken])
        typed = {"content-type": "application/x-ndjson", "Idempotency-Key": self.mark("bulk idempotency key")}
        bulk = self.call("POST", "/v1/memory/bulk", 202, content=ndjson, headers=typed)
        self.refusals.append(("a rejected line", bulk.content))
        self.call("POST", "/v1/memory/bulk", 202, json=[self.memory("bulk list")])
        self.call("POST", "/v1/memory?wait=true", {201, 202}, json=self.memory("add and wait"))
        here = {"namespace": self.namespace}
        self.call("PATCH", f"/v1/memory/{own}", 200, params=here, json={"content": self.mark("patched content")})
        self.call("PATCH", f"/v1/memory/{own}", 200, params=here, json={"metadata": {self.mark("patched key"): 1}})
        self.call("PUT", f"/v1/namespaces/{self.mark('empty namespace')}", 200)
        eventually(lambda: all(job["finished_at"] for job in self.client.get("/v1/jobs").json()["jobs"]))

    def ask(self) -> None:
        """Search and read, with marks in every place that a question has."""
        here = {"namespace": self.namespace}
        plain = here | {"query": self.mark("query in a URL"), "session": self.session, "tags": self.tag}
        self.call("GET", "/v1/memory/search", 200, params=plain)
        for mode in ("hybrid", "text", "vector"):
            body = here | {
                "query": f"{self.mark(f'query, {mode}')} {self.other(f'query, {mode}')}",
                "mode": mode,
                "session": self.session,
                "filter": {
                    f"{self.key}.{self.inner}": self.value,
                    self.mark(f"filter path, {mode}"): {"exists": False},
                },
                "explain": True,
            }
            self.call("POST", "/v1/memory/search", 200, json=body)
        self.call("GET", "/v1/memory", 200, params=here | {"session": self.session})
        [first, *_] = self.call("GET", "/v1/memory", 200, params=here).json()["memories"]
        self.call("GET", f"/v1/memory/{first['id']}/history", 200, params=here)
        jobs = self.call("GET", "/v1/jobs", 200).json()["jobs"]
        self.call("GET", f"/v1/jobs/{jobs[0]['id']}", 200)
        self.call("POST", f"/v1/jobs/{jobs[0]['id']}/retry", 200)
        self.call("GET", "/v1/failures", 200, params=here)
        for what in ("retry", "discard"):
            self.call("POST", f"/v1/failures/{what}", 200, json=here | {"ids": [self.mark(f"id to {what}")]})
        self.call("GET", f"/v1/namespaces/{self.namespace}", 200)

    def be_refused(self) -> None:
        """Send what is refused: content, names and credentials that nobody may write down either."""
        here, nowhere = {"namespace": self.namespace}, {"namespace": self.mark("unknown namespace")}
        json_type = {"content-type": "application/json"}
        marked: Callable[[str], str] = self.mark
        self.refused("not JSON", "POST", "/v1/memory", 400, content=f'{{"{marked("not JSON")}', headers=json_type)
        self.refused("content of a wrong type", "POST", "/v1/memory", 422, json=here | {"content": [marked("typed")]})
        self.refused(
            "a wrong time", "POST", "/v1/memory", 422, json=here | {"content": "x", "occurred_at": marked("time")}
        )
        long = marked("long id") * 9
        self.refused("a long id", "POST", "/v1/memory", 422, json=here | {"content": "x", "id": long})
        self.refused("a wrong type", "POST", "/v1/memory", 422, content=marked("body of no type"))
        self.refused("an unknown namespace", "GET", "/v1/memory", 404, params=nowhere)
        self.refused(
            "a search nowhere", "POST", "/v1/memory/search", 404, json=nowhere | {"query": marked("lost query")}
        )
        self.refused("an unknown id", "GET", f"/v1/memory/{marked('unknown id')}", 404, params=here)
        self.refused("an id to change", "PATCH", f"/v1/memory/{marked('no id')}", 404, params=here, json={"tags": []})
        self.refused("an id to delete", "DELETE", f"/v1/memory/{marked('gone id')}", 404, params=here)
        self.refused("an unknown job", "GET", f"/v1/jobs/{marked('unknown job')}", 404)
        self.refused("an unknown receipt", "GET", f"/v1/deletions/{marked('unknown receipt')}", 404)
        self.refused("a wrong cursor", "GET", "/v1/memory", 422, params=here | {"cursor": marked("cursor")})
        waiting = here | {"query": "x", "after_job": marked("after job")}
        self.refused("a job to wait for", "POST", "/v1/memory/search", 404, json=waiting)
        self.refused(
            "a wrong mode", "GET", "/v1/memory/search", 422, params=here | {"query": "x", "mode": marked("mode")}
        )
        operand = here | {"query": "x", "filter": {"a": {"gt": [marked("operand")]}}}
        self.refused("a wrong operand", "POST", "/v1/memory/search", 422, json=operand)
        self.refused(
            "no such route", "GET", f"/v1/{marked('route')}", 404, params={marked("parameter"): marked("argument")}
        )
        credential = {"authorization": f"Bearer ostraka_{marked('credential')}"}
        self.refused("a wrong key", "GET", "/v1/whoami", 401, headers=credential)
        agent = {"user-agent": marked("user agent"), "x-request-id": marked("request id"), "referer": marked("referer")}
        self.refused("headers", "GET", "/v1/nowhere", 404, headers=agent)

    def delete(self) -> str:
        """Delete by session, tags and filter; return the last receipt's id."""
        here = {"namespace": self.namespace}
        for condition in ({"session": self.mark("session to delete")}, {"tags": self.mark("tag to delete")}):
            self.call("DELETE", "/v1/memory", 200, params=here | condition)
        matching = json.dumps({f"{self.key}.{self.inner}": self.value})
        done = self.call("DELETE", "/v1/memory", 200, params=here | {"filter": matching}).json()
        assert done["deleted"] > 3
        doomed = self.mark("namespace to delete")
        self.call("POST", "/v1/memory", 202, json={"namespace": doomed, "content": self.mark("content to shred")})
        self.call("DELETE", f"/v1/namespaces/{doomed}", 204)
        return str(done["deletion_id"])
