import socket

import pytest
from ostraka import NotFound, Ostraka, Overloaded, ServerError, Unreachable
from ostraka.plans import TRIES_MAX
from scripted_server import ADDED, FOUND, MEMORY, Reply, Script, problem

DOWN = Reply(problem("unavailable"), 503)
BUSY = Reply(problem("busy"), 429, {"Retry-After": "0"})
DROP = Reply(drop=True)


@pytest.mark.parametrize("failure", [DOWN, BUSY, DROP, Reply(b"<html>", 502)])
def test_a_read_is_repeated_until_it_succeeds(script: Script, failure: Reply):
    script.will(failure, failure, Reply(MEMORY))
    with Ostraka(script.url) as client:
        assert client.get("n", "mem_1").id == "mem_1"
    assert len(script.asked) == 3


def test_repeating_ends(script: Script):
    script.will(*[DOWN] * 10)
    with Ostraka(script.url) as client, pytest.raises(ServerError) as caught:
        client.search("n", "q")
    assert (caught.value.status, caught.value.code) == (503, "unavailable")
    assert len(script.asked) == TRIES_MAX


@pytest.mark.parametrize("failure", [DOWN, DROP])
def test_a_repeated_add_is_the_same_request_with_the_same_key(script: Script, failure: Reply):
    script.will(failure, Reply(ADDED, 202), Reply(ADDED, 202))
    with Ostraka(script.url) as client:
        client.add("n", "text")
        client.add("n", "text")
    first, again, other = script.asked
    assert first.body == again.body
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"] != other.headers["idempotency-key"]


@pytest.mark.parametrize("failure", [DOWN, DROP])
def test_what_would_act_twice_is_not_repeated(script: Script, failure: Reply):
    script.will(failure, failure)
    with Ostraka(script.url) as client:
        with pytest.raises((ServerError, Unreachable)):
            client.update("n", "mem_1", content="new")
        with pytest.raises((ServerError, Unreachable)):
            client.delete_where("n", session="s")
    assert len(script.asked) == 2


def test_what_the_server_refused_for_load_is_repeated_always(script: Script):
    script.will(BUSY, Reply(MEMORY))
    with Ostraka(script.url) as client:
        client.update("n", "mem_1", content="new")
    assert len(script.asked) == 2


def test_a_server_that_asks_for_much_patience_gets_its_error_passed_on(script: Script):
    script.will(Reply(problem("busy"), 429, {"Retry-After": "600"}))
    with Ostraka(script.url) as client, pytest.raises(Overloaded) as caught:
        client.get("n", "mem_1")
    assert caught.value.retry_after_s == 600
    assert len(script.asked) == 1


def test_a_server_that_cannot_write_now_says_when_to_come_back(script: Script):
    script.will(Reply(problem("disk_full"), 503, {"Retry-After": "30"}))
    with Ostraka(script.url) as client, pytest.raises(ServerError) as caught:
        client.add("n", "text")
    assert (caught.value.code, caught.value.retry_after_s) == ("disk_full", 30)
    assert len(script.asked) == 1

    script.will(Reply(problem("frozen"), 503, {"Retry-After": "0"}), DOWN, Reply(ADDED, 202))
    with Ostraka(script.url) as client:
        assert client.add("n", "text").id == ADDED["id"]


@pytest.mark.parametrize("given", ["", "soon", "-1", "1.5", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_an_unreadable_retry_after_is_a_second(script: Script, monkeypatch: pytest.MonkeyPatch, given: str):
    monkeypatch.setattr("ostraka.plans.PAUSE_S_MAX", 0.5)
    script.will(Reply(problem("busy"), 429, {"Retry-After": given}))
    with Ostraka(script.url) as client, pytest.raises(Overloaded) as caught:
        client.get("n", "mem_1")
    assert caught.value.retry_after_s == 1.0


def test_a_delete_whose_first_answer_was_lost_succeeds(script: Script):
    script.will(DROP, Reply(problem("not_found"), 404))
    with Ostraka(script.url) as client:
        assert client.delete("n", "mem_1") is None
    assert len(script.asked) == 2


def test_a_delete_of_nothing_is_an_error_also_after_a_refusal(script: Script):
    script.will(BUSY, Reply(problem("not_found"), 404))
    with Ostraka(script.url) as client, pytest.raises(NotFound):
        client.delete("n", "mem_1")


def test_a_timeout_is_not_repeated(script: Script):
    script.will(Reply(MEMORY, after_s=0.5))
    with Ostraka(script.url, timeout_s=0.1) as client, pytest.raises(Unreachable) as caught:
        client.get("n", "mem_1")
    assert caught.value.code == "timeout"
    assert len(script.asked) == 1


def test_a_call_that_asks_the_server_to_wait_waits_for_it(script: Script):
    script.will(Reply(ADDED, 201, after_s=0.4), Reply(FOUND, after_s=0.4))
    with Ostraka(script.url, timeout_s=0.2) as client:
        client.add("n", "text", wait=True)
        client.search("n", "q", after_job="job_1", wait_ms=1_000)


def test_no_server_at_all():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with Ostraka(url) as client, pytest.raises(Unreachable) as caught:
            client.update("n", "mem_1", content="new")
    assert caught.value.code == "unreachable"
    assert caught.value.status is None
