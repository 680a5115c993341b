"""Bodies: beyond the limit refused with 413, declared or chunked; at the limit accepted."""

import json

import pytest

from core import limits


def chunked(size):
    """A body without a declared length, in pieces."""
    for start in range(0, size, 65_536):
        yield b"x" * min(65_536, size - start)


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/v1/memory", limits.BODY_BYTES_MAX),
        ("/v1/memory/search", limits.BODY_BYTES_MAX),
        ("/v1/memory/bulk", limits.BULK_BODY_BYTES_MAX),
    ],
)
@pytest.mark.parametrize("declared", [True, False])
def test_a_body_beyond_the_limit_is_refused(client, path, limit, declared):
    size = limit + 1
    headers = {"content-type": "application/json"}
    response = client.post(path, content=b"x" * size if declared else chunked(size), headers=headers)
    assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert response.headers["content-type"] == "application/problem+json"
    assert client.get("/health/live").status_code == 200


def test_a_patch_beyond_the_limit_is_refused(client, remember, namespace):
    remember("small", id="m")
    response = client.patch("/v1/memory/m", params={"namespace": namespace}, content=chunked(limits.BODY_BYTES_MAX + 1))
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_a_chunked_body_within_the_limit_is_accepted(client, namespace):
    text = json.dumps({"namespace": namespace, "content": "in pieces"}).encode()
    headers = {"content-type": "application/json"}
    response = client.post("/v1/memory", content=iter([text[:7], text[7:]]), headers=headers)
    assert response.status_code == 202


def test_a_body_of_exactly_the_limit_is_read(client, namespace):
    text = json.dumps({"namespace": namespace, "content": "padded"}).encode()
    padded = text + b" " * (limits.BODY_BYTES_MAX - len(text))
    response = client.post("/v1/memory", content=padded, headers={"content-type": "application/json"})
    assert response.status_code == 202
