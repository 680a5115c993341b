"""Idempotency keys where it is hard: one request at two API processes at once, on one store."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from lone_api import LoneApi


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two APIs on one data directory."""
    folder = tmp_path_factory.mktemp("two")
    apis = [LoneApi(folder), LoneApi(folder)]
    try:
        yield [api.start() for api in apis]
        for api in apis:
            api.stop()
    finally:
        for api in apis:
            api.discard()


def crowd(apis, send: Callable):
    """Let 24 callers send at once, to the one API and the other by turns."""
    with ThreadPoolExecutor(24) as pool:
        return [future.result() for future in [pool.submit(send, apis[turn % 2]) for turn in range(48)]]


def test_a_single_memory_is_written_once_into_a_namespace_made_once(two):
    answers = crowd(two, lambda api: api.add("Once.", "single", key="k"))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert [api.count("single") for api in two] == [1, 1]


def test_a_bulk_load_is_written_once(two):
    lines = [f"entry {number}" for number in range(40)] + [" "]
    answers = crowd(two, lambda api: api.load(lines, "loaded", key="k"))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert (answers[0].json()["accepted"], answers[0].json()["rejected"][0]["line"]) == (40, 41)
    assert [api.count("loaded") for api in two] == [40, 40]


def test_of_two_requests_with_one_key_one_is_written_and_the_other_refused(two):
    answers = crowd(two, lambda api: api.add(f"By the API at {api.client.base_url}.", "contested", key="k"))
    assert sorted({answer.status_code for answer in answers}) == [202, 409]
    assert len({answer.text for answer in answers if answer.status_code == 202}) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"conflict"}
    assert [api.count("contested") for api in two] == [1, 1]
