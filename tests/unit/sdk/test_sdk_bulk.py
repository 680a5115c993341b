from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ostraka import InvalidRequest, NewMemory, Ostraka, Overloaded
from ostraka.bulk import CHUNK_BYTES_MAX, CHUNK_MEMORIES_MAX, chunks
from scripted_server import Reply, Script, problem

from core import limits


def bulk(accepted: int, *rejected: dict[str, Any], job: str = "job_1") -> Reply:
    return Reply({"job_id": job, "accepted": accepted, "rejected": list(rejected)}, 202)


def test_the_bounds_are_the_servers():
    assert (CHUNK_MEMORIES_MAX, CHUNK_BYTES_MAX) == (limits.BULK_ITEMS_MAX, limits.BULK_BODY_BYTES_MAX)


@given(st.lists(st.binary(max_size=20)), st.integers(1, 5), st.integers(1, 40))
def test_chunks_keep_all_lines_in_order_within_both_bounds(lines: list[bytes], count_max: int, size_max: int):
    found = list(chunks(lines, count_max, size_max))
    assert [line for chunk in found for line in chunk] == lines
    for chunk in found:
        assert 1 <= len(chunk) <= count_max
        assert len(chunk) == 1 or len(b"\n".join(chunk)) + 1 <= size_max
    for chunk, following in pairwise(found):  # none is cut too early
        size = len(b"\n".join([*chunk, following[0]])) + 1
        assert len(chunk) == count_max or size > size_max


def test_chunks_are_jobs_and_rejected_lines_are_numbered_over_all(script: Script):
    script.will(bulk(10_000), bulk(1, {"line": 2, "code": "invalid_input", "detail": "content: blank"}, job="job_2"))

    def memories() -> Iterator[NewMemory]:
        for number in range(10_002):
            yield {"content": f"{number}", "session": None}

    with Ostraka(script.url) as client:
        added = client.add_many("n", memories())
    assert (added.job_ids, added.accepted) == (("job_1", "job_2"), 10_001)
    assert [(each.line, each.code) for each in added.rejected] == [(10_002, "invalid_input")]
    first, second = script.asked
    assert first.headers["content-type"] == "application/x-ndjson"
    assert len(first.body.split(b"\n")) == 10_000
    assert second.body == b'{"namespace":"n","content":"10000"}\n{"namespace":"n","content":"10001"}'


def test_a_chunk_that_is_sent_again_is_one_write(script: Script):
    script.will(Reply(drop=True), bulk(1), Reply(problem("unavailable"), 503), bulk(1))
    with Ostraka(script.url) as client:
        client.add_many("n", [{"content": "a"}])
        client.add_many("n", [{"content": "a"}], idempotency_key="mine")
    keys = [asked.headers["idempotency-key"] for asked in script.asked]
    assert keys[0] == keys[1] != "mine-0"
    assert keys[2:] == ["mine-0", "mine-0"]
    assert len({asked.body for asked in script.asked}) == 1


def test_nothing_to_write_asks_nothing(script: Script):
    with Ostraka(script.url) as client:
        added = client.add_many("n", [])
    assert (added.job_ids, added.accepted, added.rejected) == ((), 0, ())


def test_a_chunk_without_a_valid_memory_is_an_error(script: Script):
    script.will(Reply(problem("nothing_accepted"), 422))
    with Ostraka(script.url) as client, pytest.raises(InvalidRequest) as caught:
        client.add_many("n", [{"content": " "}])
    assert caught.value.code == "nothing_accepted"


def test_lines_are_sent_as_they_are_and_once(script: Script):
    script.will(Reply(problem("queue_full"), 429, {"Retry-After": "7"}), bulk(2))
    with Ostraka(script.url) as client:
        with pytest.raises(Overloaded) as caught:
            client.add_lines([b'{"a":1}', b'{"b":2}'], idempotency_key="mine")
        added = client.add_lines([b'{"a":1}', b'{"b":2}'], idempotency_key="mine")
    assert caught.value.retry_after_s == 7
    assert (added.job_ids, added.accepted, added.rejected, added.replayed) == (("job_1",), 2, (), 0)
    assert [(each.body, each.headers["idempotency-key"]) for each in script.asked] == [
        (b'{"a":1}\n{"b":2}', "mine")
    ] * 2


def test_chunks_that_were_written_before_are_counted(script: Script):
    repeated = Reply({"job_id": "job_1", "accepted": 1, "rejected": []}, 202, {"Idempotent-Replayed": "true"})
    script.will(repeated, bulk(1))
    with Ostraka(script.url) as client:
        assert client.add_many("n", [{"content": "a"}], idempotency_key="mine").replayed == 1
        assert client.add_many("n", [{"content": "a"}]).replayed == 0
