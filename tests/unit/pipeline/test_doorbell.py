import threading
from collections.abc import Iterator

import pytest
import structlog

from core.pipeline.doorbell import EMBED, INDEX, QUEUES, TASK_NAMES, Doorbell


class Wire:
    """A transport that can be held up, or be away."""

    def __init__(self) -> None:
        self.rung: list[tuple[str, str]] = []
        self.sending = threading.Semaphore(0)
        self.open = threading.Event()
        self.open.set()
        self.away = False

    def publish(self, queue: str, company: str) -> None:
        self.sending.release()
        self.open.wait()
        if self.away:
            raise ConnectionError("redis://:secret@host is away")
        self.rung.append((queue, company))


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def bell(wire) -> Iterator[Doorbell]:
    opened = Doorbell(wire.publish)
    yield opened
    wire.open.set()
    opened.close()


def test_a_ring_is_published(wire, bell):
    bell.ring(EMBED, "co_a")
    bell.close()
    assert wire.rung == [(EMBED, "co_a")]


def test_closing_rings_what_was_asked_for(wire, bell):
    for number in range(500):
        bell.ring(EMBED, f"co_{number}")
    bell.close()
    assert sorted(wire.rung) == sorted((EMBED, f"co_{number}") for number in range(500))


def test_ringing_never_waits_for_the_transport(wire, bell):
    wire.open.clear()
    bell.ring(EMBED, "co_a")
    wire.sending.acquire()
    for _ in range(1_000):
        bell.ring(INDEX, "co_a")  # returns although nothing is being sent
    assert wire.rung == []


def test_rings_that_gather_become_one_for_each_queue_and_company(wire, bell):
    wire.open.clear()
    bell.ring(EMBED, "co_a")
    wire.sending.acquire()
    for _ in range(100):
        for company in ("co_a", "co_b"):
            bell.ring(EMBED, company)
            bell.ring(INDEX, company)
    wire.open.set()
    bell.close()
    assert wire.rung[0] == (EMBED, "co_a")
    assert sorted(wire.rung[1:]) == [(queue, company) for queue in (EMBED, INDEX) for company in ("co_a", "co_b")]


def test_a_ring_during_sending_is_sent_again(wire, bell):
    """What was written after the message left may not be what the worker sees: ring once more."""
    wire.open.clear()
    bell.ring(EMBED, "co_a")
    wire.sending.acquire()
    bell.ring(EMBED, "co_a")
    wire.open.set()
    bell.close()
    assert wire.rung == [(EMBED, "co_a")] * 2


def test_a_dead_transport_is_counted_and_survived(wire, bell):
    wire.away = True
    with structlog.testing.capture_logs() as logs:
        bell.ring(EMBED, "co_a")
        wire.sending.acquire()
        wire.away = False
        bell.ring(INDEX, "co_a")
        bell.close()
    assert bell.failures + len(wire.rung) == 2
    assert (INDEX, "co_a") in wire.rung
    assert "secret" not in str(logs)


def test_a_failure_is_logged_without_what_the_transport_said(wire, bell):
    wire.away = True
    with structlog.testing.capture_logs() as logs:
        bell.ring(EMBED, "co_a")
        bell.close()
    assert bell.failures == 1
    assert [(entry["event"], entry["queue"], entry["error"]) for entry in logs] == [
        ("doorbell_failed", EMBED, "ConnectionError")
    ]
    assert "secret" not in str(logs)


def test_ringing_and_closing_after_the_end_do_nothing(wire, bell):
    bell.close()
    bell.ring(EMBED, "co_a")
    bell.close()
    assert wire.rung == []


def test_no_ring_is_lost_between_many_threads(wire, bell):
    def work(worker: int) -> None:
        for number in range(50):
            bell.ring(EMBED, f"co_{worker}_{number}")

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bell.close()
    assert len(set(wire.rung)) == 400


def test_every_queue_has_a_task_name_of_its_own():
    assert len(set(TASK_NAMES.values())) == len(QUEUES) == len(TASK_NAMES)
    assert all(name.startswith("ostraka.") for name in TASK_NAMES.values())
