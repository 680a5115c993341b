import threading

import pytest

from core.pipeline.gate import Gate


class Held:
    """A drain that says when it began and waits until it may end."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.runs = 0
        self.together = 0
        self.together_max = 0

    def __call__(self) -> None:
        self.together += 1
        self.together_max = max(self.together_max, self.together)
        self.runs += 1
        self.began.release()
        self.may_end.acquire()
        self.together -= 1


def started(gate: Gate, key: object, drain: Held) -> threading.Thread:
    thread = threading.Thread(target=gate.run, args=(key, drain))
    thread.start()
    drain.began.acquire()
    return thread


def test_a_drain_runs_once_when_nobody_asks_again():
    runs = []
    Gate().run("index", lambda: runs.append(1))
    assert runs == [1]


def test_asking_while_it_runs_returns_at_once_and_makes_it_run_again():
    gate, drain = Gate(), Held()
    thread = started(gate, "index", drain)
    for _ in range(5):
        gate.run("index", drain)  # returns although the drain is held
    drain.may_end.release()
    drain.began.acquire()
    drain.may_end.release()
    thread.join()
    assert drain.runs == 2
    assert drain.together_max == 1


def test_other_keys_do_not_wait():
    gate, one, two = Gate(), Held(), Held()
    threads = [started(gate, ("index", "co_a"), one), started(gate, ("index", "co_b"), two)]
    one.may_end.release()
    two.may_end.release()
    for thread in threads:
        thread.join()
    assert (one.runs, two.runs) == (1, 1)


def test_an_asker_from_inside_makes_it_go_round():
    gate, left = Gate(), [3, 2, 1]

    def drain() -> None:
        if left:
            left.pop()
            gate.run("index", drain)

    gate.run("index", drain)
    assert left == []


def test_a_failure_reaches_the_caller_and_frees_the_gate():
    gate, runs = Gate(), []

    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        gate.run("index", fail)
    gate.run("index", lambda: runs.append(1))
    assert runs == [1]


def test_no_request_is_lost_between_many_threads():
    """Work put down before asking is always taken up, by whoever happens to hold the gate."""
    gate, put, taken = Gate(), [], []
    together = threading.Barrier(8)

    def drain() -> None:
        while put:
            taken.append(put.pop())

    def work(worker: int) -> None:
        together.wait()
        for number in range(300):
            put.append((worker, number))
            gate.run("index", drain)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert put == []
    assert sorted(taken) == [(worker, number) for worker in range(8) for number in range(300)]
