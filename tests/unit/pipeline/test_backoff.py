"""Waiting longer after each failure, never in step with others."""

from statistics import mean

import pytest

from core.pipeline.backoff import backoff_s


@pytest.mark.parametrize(
    ("failures", "at_most"), [(0, 5.0), (1, 5.0), (2, 10.0), (3, 20.0), (6, 160.0), (7, 300.0), (10_000, 300.0)]
)
def test_the_wait_is_anything_up_to_a_bound_that_doubles(rng, failures, at_most):
    waits = [backoff_s(failures, base_s=5.0, cap_s=300.0, rng=rng) for _ in range(2_000)]
    assert min(waits) >= 0
    assert 0.95 * at_most < max(waits) <= at_most
    assert mean(waits) == pytest.approx(at_most / 2, rel=0.1)
