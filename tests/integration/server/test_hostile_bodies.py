"""Hostile bodies against a real process: a stable code for each, a process that lives, and memory that is bounded."""

import gzip
from collections.abc import Iterator

import psutil
import pytest

from core import limits
from tests.integration.server.lone_api import LoneApi

GROWTH_BYTES_MAX = 700 * 2**20  # a body of 64 MB is held up to four times while it is judged
FULL = limits.BULK_BODY_BYTES_MAX
BULK = {
    "tiny empty lists": b"[" + b"[]," * (FULL // 3 - 1) + b"1]",
    "one list of lists": b"[[" + b"[]," * (FULL // 3 - 2) + b"1]]",
    "open lists": b"[" * FULL,
    "blank lines": b"\n" * FULL,
    "faulty lines": b"{\n" * (FULL // 2),
    "open text": b'["' + b'\\"' * (FULL // 2 - 2),
    "noise": bytes(range(256)) * (FULL // 256),
}


@pytest.fixture(scope="module")
def api(tmp_path_factory) -> Iterator[LoneApi]:
    api = LoneApi(tmp_path_factory.mktemp("hostile"))
    try:
        yield api.start()
        api.stop()
    finally:
        api.discard()


@pytest.mark.parametrize("body", BULK.values(), ids=BULK.keys())
def test_a_bulk_body_is_refused_and_costs_bounded_memory(api, body):
    before = psutil.Process(api.pid).memory_info().rss
    answer = api.client.post("/v1/memory/bulk", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 413, 422}, answer.text
    assert answer.json()["code"] in {"malformed_json", "too_large", "nothing_accepted"}
    assert psutil.Process(api.pid).memory_info().rss - before < GROWTH_BYTES_MAX
    assert len(answer.content) < 10_000


UNKNOWN = b"{" + b",".join(b'"%x":1' % number for number in range(90_000)) + b"}"


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/memory"), ("POST", "/v1/memory/search"), ("PATCH", "/v1/memory/m?namespace=n")]
)
def test_a_body_of_unknown_fields_is_told_their_number_alone(api, method, path):
    answer = api.client.request(method, path, content=UNKNOWN, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    [fault] = answer.json()["errors"]
    assert fault["field"] == "body"
    assert "has 9000" in fault["detail"]  # 90,000 fields, or one fault more or less for each


def test_a_compressed_body_is_refused(api):
    body = gzip.compress(b" " * 10_000_000)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = api.client.post("/v1/memory", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "encoded_body")


@pytest.mark.parametrize("body", [b"[" * 900_000, b'{"a":' * 150_000, b'{"content":' + b"9" * 900_000 + b"}"])
@pytest.mark.parametrize("path", ["/v1/memory", "/v1/memory/search"])
def test_a_body_nested_or_counted_beyond_reason_is_refused(api, path, body):
    answer = api.client.post(path, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) in {(400, "malformed_json"), (422, "invalid_input")}
