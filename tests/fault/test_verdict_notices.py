"""The verdict notices what it is for: each promise broken on purpose, behind the ledger's back, is counted."""

import itertools

import pytest

from tests.fault.ledger import Ledger
from tests.fault.report import Figures
from tests.fault.traffic import text_of
from tests.fault.verdict import judge

_numbers = itertools.count()


@pytest.fixture
def judged(lasting, rng):
    """Write ten memories, delete one, do something else, and return what the verdict counts."""
    client, ledger = lasting.topology.client, Ledger(f"judged-{next(_numbers)}")

    def write(name: str, text: str) -> None:
        body = {"namespace": ledger.namespace, "id": name, "content": text}
        assert client.post("/v1/memory", params={"wait": True}, json=body).status_code == 201

    def delete(name: str) -> None:
        assert client.delete(f"/v1/memory/{name}", params={"namespace": ledger.namespace}).is_success

    def judge_after(secretly) -> Figures:
        for name in ledger.open(10):
            ledger.attempt(name, text_of(name, 1))
            write(name, text_of(name, 1))
            ledger.acknowledge(name, text_of(name, 1))
        ledger.attempt("m9", None)
        delete("m9")
        ledger.acknowledge("m9", None)
        secretly(write, delete)
        figures = Figures()
        try:
            judge(lasting.topology, lasting.auditor, ledger, figures, rng)
        except AssertionError:
            return figures
        assert (figures.lost, figures.duplicated, figures.resurrected) == (0, 0, 0)
        return figures

    return judge_after


def test_nothing_where_nothing_is_wrong(judged):
    figures = judged(lambda *_: None)
    assert (figures.acknowledged_writes, figures.acknowledged_deletes) == (10, 1)


def test_a_lost_memory(judged):
    assert judged(lambda _, delete: delete("m3")).lost == 1


def test_a_changed_memory(judged):
    assert judged(lambda write, _: write("m3", "Something else.")).lost == 1


def test_a_memory_written_twice(judged):
    assert judged(lambda write, _: write("m3", text_of("m3", 1))).duplicated == 1


def test_a_memory_that_came_back(judged):
    assert judged(lambda write, _: write("m9", text_of("m9", 1))).resurrected == 1
