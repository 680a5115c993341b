"""Signs of life: what came round is alive, what did not is named, what ended is forgotten."""

import threading
from contextlib import contextmanager

import pytest

from workers.pulse import Pulse


class Now:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def pulse(now):
    return Pulse(now)


@contextmanager
def hanging(pulse):
    """Let another thread, which may be silent for 5 s, not come round while a block runs."""
    begun, end = threading.Event(), threading.Event()

    def hang():
        with pulse.watched("task-embed", 5):
            begun.set()
            end.wait(60)

    thread = threading.Thread(target=hang)
    thread.start()
    try:
        assert begun.wait(60)
        yield
    finally:
        end.set()
        thread.join()


def test_a_loop_is_stuck_once_it_is_silent_for_longer_than_it_may_be(pulse, now):
    with pulse.watched("watch-embed", 10):
        now.s += 10
        assert pulse.stuck() == {}
        now.s += 1
        assert pulse.stuck() == {"watch-embed": 11}
        pulse.beat()
        assert pulse.stuck() == {}
        assert pulse.silent_s() == {"watch-embed": 0}


def test_what_has_ended_or_failed_is_watched_no_more(pulse, now):
    with pytest.raises(LookupError), pulse.watched("task-index", 1):
        raise LookupError
    now.s += 100
    assert (pulse.stuck(), pulse.silent_s()) == ({}, {})


def test_a_thread_beats_for_itself_alone(pulse, now):
    with hanging(pulse), pulse.watched("consumer", 5):
        now.s += 6
        pulse.beat()
        assert pulse.stuck() == {"task-embed": 6}
    pulse.beat()  # of a thread that nobody watches
    assert pulse.silent_s() == {}


def test_of_threads_with_one_name_the_longest_silence_counts(pulse, now):
    with hanging(pulse):
        now.s += 3
        with pulse.watched("task-embed", 5):
            assert pulse.silent_s() == {"task-embed": 3}
