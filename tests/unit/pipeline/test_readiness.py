"""What is wrong with a server of which this and that is known."""

import pytest

from core.pipeline.readiness import Facts, Stillness, judge, status_of

FINE = {"free_bytes": 1_000}


def codes(*, redis_answers=True, **facts):
    reasons = judge(Facts(**FINE | facts), redis_answers=redis_answers, stalled_s=120, free_bytes_min=1_000)
    return status_of(reasons), [reason.code for reason in reasons]


def test_nothing_is_wrong():
    assert codes() == ("healthy", [])
    assert codes(still_s={"embed": 120.0, "index": 0.0}) == ("healthy", [])


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"store_answers": False}, "store_unreachable"),
        ({"keys_fit": False}, "key_missing"),
        ({"redis_answers": False}, "redis_unreachable"),
        ({"blobs_answer": False}, "blobs_unreachable"),
        ({"still_s": {"embed": 3.0, "index": 120.1}}, "pipeline_stalled"),
        ({"free_bytes": 999}, "disk_nearly_full"),
    ],
)
def test_a_server_that_cannot_do_all_its_work_is_not_ready(facts, code):
    assert codes(**facts) == ("unready", [code])


@pytest.mark.parametrize(
    ("facts", "code"),
    [({"frozen": True}, "frozen"), ({"quarantined": 1}, "shards_quarantined"), ({"imbalance": 1}, "ledger_imbalance")],
)
def test_a_server_that_answers_everything_is_ready_though_degraded(facts, code):
    assert codes(**facts) == ("degraded", [code])


def test_all_that_is_wrong_is_told_the_worst_first():
    assert codes(redis_answers=False, quarantined=2, free_bytes=0) == (
        "unready",
        ["redis_unreachable", "disk_nearly_full", "shards_quarantined"],
    )


def test_a_stall_names_the_queues_that_stand_still():
    facts = Facts(still_s={"index": 500.0, "embed": 1.0, "embed-bulk": 121.0}, **FINE)
    [reason] = judge(facts, redis_answers=True, stalled_s=120, free_bytes_min=0)
    assert "embed-bulk, index" in reason.detail


def test_a_head_is_still_for_as_long_as_it_is_the_same():
    stillness = Stillness()
    assert stillness.observe({"a": 1, "b": 7}, now=10.0) == {"a": 0.0, "b": 0.0}
    assert stillness.observe({"a": 1, "b": 8}, now=15.0) == {"a": 5.0, "b": 0.0}
    assert stillness.observe({"a": 1}, now=16.0) == {"a": 6.0}
    assert stillness.observe({"a": 1, "b": 8}, now=20.0) == {"a": 10.0, "b": 0.0}, "b had moved meanwhile"
