"""Scrapes of the metrics: several at once, of companies that come and go."""

from types import SimpleNamespace

import pytest

from api.metrics import Metrics
from core.records.control import ControlStore


@pytest.fixture
def metrics(control: ControlStore) -> Metrics:
    nothing = SimpleNamespace(entries=0, lost=0, failures=0)
    return Metrics(SimpleNamespace(control=control, auditor=nothing, doorbell=nothing, opened=lambda _: None))


class Raced(dict):
    """Registries of which one is gone by the time its name is used."""

    def keys(self):
        return super().keys() | {"co_departed"}


def test_a_company_that_another_scrape_has_dropped_is_no_fault(metrics, control):
    metrics._companies = Raced(metrics._companies)
    assert b"ostraka_company_memories" in metrics.expose(control.company_ids()[0], operates=True)
