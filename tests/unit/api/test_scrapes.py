"""Scrapes of the metrics: several at once, of companies that come and go."""

from types import SimpleNamespace

import pytest

from api import companyfigures
from api.metrics import Metrics
from core.observing.observer import Observer
from core.records.control import ControlStore
from core.records.lifecycle import change_terms
from core.records.usage import read_usage
from tests.integration.processes import eventually


@pytest.fixture
def metrics(control: ControlStore) -> Metrics:
    nothing = SimpleNamespace(entries=0, lost=0, failures=0)
    cache = SimpleNamespace(hits=0, misses=0, evictions=0, bytes_max=0, used_bytes=lambda: 0)
    parts = {"auditor": nothing, "doorbell": nothing, "cache": cache, "observer": Observer(), "opened": lambda _: None}
    return Metrics(SimpleNamespace(control=control, **parts), SimpleNamespace(seen=None))


class Raced(dict):
    """Registries of which one is gone by the time its name is used."""

    def keys(self):
        return super().keys() | {"co_departed"}


def test_a_company_that_another_scrape_has_dropped_is_no_fault(metrics, control):
    metrics._companies = Raced(metrics._companies)
    assert b"ostraka_company_memories" in metrics.expose(control.company_ids()[0], operates=True)


def test_what_companies_keep_is_not_counted_at_each_scrape_but_what_holds_for_them_is_shown(
    metrics, control, monkeypatch
):
    counts = []
    monkeypatch.setattr(companyfigures, "read_usage", lambda store: counts.append(store) or read_usage(store))
    acme, home = control.create_company("acme").id, control.company_ids()[0]
    assert f'ostraka_company_suspended{{company="{acme}"}} 0.0' in metrics.expose(home, operates=True).decode()
    change_terms(control, acme, suspended=True)
    eventually(lambda: control.terms(acme).suspended)
    assert f'ostraka_company_suspended{{company="{acme}"}} 1.0' in metrics.expose(home, operates=True).decode()
    assert len(counts) == 2  # one for each company
