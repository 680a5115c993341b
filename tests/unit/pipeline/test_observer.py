"""What a checkup leaves in the metrics."""

from core.observing.observer import Observer
from core.pipeline.readiness import Reason


def test_a_problem_is_shown_as_long_as_it_lasts():
    observer = Observer()
    value = observer.registry.get_sample_value
    observer.checked([Reason("redis_unreachable", "…"), Reason("frozen", "…")])
    assert value("ostraka_ready") == 0
    assert value("ostraka_problem", {"code": "redis_unreachable"}) == 1
    observer.checked([Reason("frozen", "…")])
    assert value("ostraka_ready") == 1  # it answers all the same
    assert value("ostraka_problem", {"code": "redis_unreachable"}) is None
    assert value("ostraka_problem", {"code": "frozen"}) == 1
