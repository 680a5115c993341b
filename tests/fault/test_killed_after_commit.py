"""kill -9 once a write is committed, before its caller has heard of it: to send it again is to hear of it, no more."""

import json
import signal
import socket

import pytest
from sqlalchemy import select

from core.records.tables import jobs
from tests.integration.processes import eventually
from tests.integration.server.lone_api import LoneApi
from tests.stores import BOTH

RECORD_STORES = BOTH

SINGLE = ("/v1/memory", "application/json", json.dumps({"namespace": "notes", "content": "Once."}))
LOAD = (
    "/v1/memory/bulk",
    "application/x-ndjson",
    "\n".join(json.dumps({"namespace": "notes", "content": f"entry {number}"}) for number in range(300)),
)


def request_bytes(path: str, kind: str, body: str) -> bytes:
    fields = f"host: localhost\r\ncontent-type: {kind}\r\nidempotency-key: k\r\ncontent-length: {len(body)}"
    return f"POST {path} HTTP/1.1\r\n{fields}\r\n\r\n{body}".encode()


@pytest.fixture
def start(tmp_path, environment):
    started: list[LoneApi] = []

    def start() -> LoneApi:
        started.append(LoneApi(tmp_path, **environment))
        return started[-1].start()

    yield start
    for api in started:
        api.discard()


@pytest.mark.parametrize(("call", "written"), [(SINGLE, 1), (LOAD, 300)], ids=["single", "bulk"])
def test_the_answer_that_was_lost_is_given_again_and_nothing_written_twice(start, auditor, call, written):
    def committed() -> list[str]:
        with auditor.records.database.read() as connection:
            return list(connection.execute(select(jobs.c.public_id)).scalars())

    victim = start()
    address = (victim.client.base_url.host, victim.client.base_url.port)
    with socket.create_connection(address) as caller:  # who never hears the answer
        caller.sendall(request_bytes(*call))
        [job] = eventually(committed, every_s=0.001)
        victim.end(signal.SIGKILL)

    path, kind, body = call
    successor = start()
    again = [
        successor.client.post(path, content=body, headers={"content-type": kind, "idempotency-key": "k"})
        for _ in range(2)
    ]
    assert {answer.status_code for answer in again} == {202}
    assert [answer.json()["job_id"] for answer in again] == [job, job]
    assert again[0].json() == again[1].json()
    assert committed() == [job]
    assert auditor.states() == {"pending": written}
    successor.stop()
