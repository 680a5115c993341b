"""Sending chunks: patience with a full or absent server, order where rows share something, what a failure leaves."""

import threading
from collections.abc import Iterator

import pytest
from ostraka import AddedMany, Conflict, NotAllowed, Ostraka, OstrakaError, ServerError, Unreachable

from cli.backfill.chunks import Chunk
from cli.backfill.journal import Answered, Journal
from cli.backfill.judging import Good
from cli.backfill.sending import Sender
from cli.backfill.tally import Tally
from tests.unit.sdk.scripted_server import Reply, Script, problem, serve


@pytest.fixture
def script() -> Iterator[Script]:
    with serve() as served:
        yield served


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal") as opened:
        yield opened


def chunk(name: str, *touches: int) -> Chunk:
    return Chunk(
        [Good("f", number, f'{{"{name}":{number}}}'.encode(), touches, embedded=False) for number in (1, 2)], b""
    )


def accepted(*rejected, count: int = 2, **headers: str) -> Reply:
    return Reply({"job_id": "job_1", "accepted": count, "rejected": list(rejected)}, 202, headers)


def sender(client, journal, tally, full=lambda: None, patience_s=30.0) -> Sender:
    return Sender(client, journal, tally, in_flight=3, patience_s=patience_s, full=full)


def test_a_full_frozen_or_broken_server_gets_the_same_call_again(script, journal):
    script.will(
        Reply(problem("queue_full"), 429, {"Retry-After": "0"}),
        Reply(problem("frozen"), 503, {"Retry-After": "0"}),
        Reply(drop=True),
        accepted(),
    )
    tally, waits = Tally(), []
    with Ostraka(script.url) as client:
        sending = sender(client, journal, tally, lambda: waits.append(1))
        sending.send(chunk("a"))
        sending.finish()
        sending.close()
    assert (tally.written, tally.calls, len(waits)) == (2, 1, 1)
    assert len({(each.body, each.headers["idempotency-key"]) for each in script.asked}) == 1
    assert journal.answered == {}  # as it was read: the file has it
    assert chunk("a").key in journal._path.read_text()


def test_what_was_answered_before_is_not_sent(script, journal):
    journal.answered[chunk("a").key] = Answered(1, 1)
    script.will(accepted(**{"Idempotent-Replayed": "true"}))
    tally = Tally()
    with Ostraka(script.url) as client:
        sending = sender(client, journal, tally)
        for name in ("a", "b"):
            sending.send(chunk(name))
        sending.finish()
        sending.close()
    assert len(script.asked) == 1
    assert (tally.written, tally.before, tally.rejected) == (0, 3, 1)


def test_rows_that_the_server_refuses_are_told_by_their_places(script, journal):
    script.will(
        accepted({"line": 2, "code": "invalid_input", "detail": "why"}, count=1),
        Reply(problem("nothing_accepted"), 422),
    )
    tally = Tally()
    with Ostraka(script.url) as client:
        sending = sender(client, journal, tally)
        for name in ("a", "b"):
            sending.send(chunk(name, 1))
        sending.finish()
        sending.close()
    assert tally.faults == {"invalid_input": 1, "nothing_accepted": 2}
    assert tally.written == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(problem("quota_exceeded"), 409), Conflict),
        (Reply(problem("forbidden"), 403), NotAllowed),
        (Reply(problem("integrity"), 500), ServerError),
        (Reply(problem("unavailable"), 503), ServerError),
        (Reply(drop=True), Unreachable),
    ],
)
def test_what_does_not_pass_ends_it(script, journal, reply, kind):
    script.will(reply)
    with Ostraka(script.url) as client:
        sending = sender(client, journal, Tally(), patience_s=0)
        sending.send(chunk("a"))
        with pytest.raises(kind):
            sending.finish()
        sending.close()
    assert chunk("a").key not in journal._path.read_text()


def test_to_close_ends_the_patience_and_notes_what_was_answered(script, journal):
    script.will(Reply(problem("queue_full"), 429, {"Retry-After": "3600"}))
    waits = threading.Event()
    with Ostraka(script.url) as client:
        sending = sender(client, journal, Tally(), waits.set)
        sending.send(chunk("a"))
        assert waits.wait(30)
        sending.close()
    assert len(script.asked) == 1


class SlowClient:
    """Answers when it is told to; notes what is on its way together."""

    def __init__(self) -> None:
        self.under_way: set[bytes] = set()
        self.together: list[frozenset[bytes]] = []
        self.three = threading.Barrier(3)
        self._lock = threading.Lock()

    def add_lines(self, lines, **_: str) -> AddedMany:
        with self._lock:
            self.under_way.add(lines[0])
            self.together.append(frozenset(self.under_way))
        if not lines[0].startswith(b'{"shared'):
            self.three.wait(30)  # these three do travel side by side
        with self._lock:
            self.under_way.remove(lines[0])
        return AddedMany(("job_1",), len(lines), ())


def test_calls_that_share_something_go_one_after_the_other_and_others_together(journal):
    client, tally = SlowClient(), Tally()
    sending = sender(client, journal, tally)
    for name in ("a", "b", "c"):
        sending.send(chunk(name))
    for number in range(6):
        sending.send(chunk(f"shared{number}", 7))
    sending.finish()
    sending.close()
    shared = [{line for line in lines if line.startswith(b'{"shared')} for lines in client.together]
    assert max(map(len, shared)) == 1
    assert max(map(len, client.together)) == 3
    assert tally.written == 18


def test_a_failure_lets_no_more_begin(script, journal):
    script.will(Reply(problem("forbidden"), 403))
    with Ostraka(script.url) as client:
        sending = sender(client, journal, Tally())
        sending.send(chunk("a", 1))
        with pytest.raises(OstrakaError):
            sending.send(chunk("b", 1))
        sending.close()
    assert len(script.asked) == 1
