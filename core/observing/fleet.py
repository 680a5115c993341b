"""The whole deployment in figures: read from the record stores, so that every process says the same."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Final, TypeVar

from cachetools import TTLCache, cachedmethod
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from core.errors import OstrakaError
from core.records.control import ControlStore
from core.records.counters import MAINTAINED_AT, read_counter
from core.records.figures import Holdings, QueueFigures, read_holdings, read_queues
from core.records.ledger import PLACES

_WAITING_TRUST_S: Final = 2.0
_HOLDINGS_TRUST_S: Final = 60.0  # a million rows take a good part of a second

T = TypeVar("T")


@dataclass(frozen=True)
class Waiting:
    """What waits in one company, and how long ago (in seconds) its last round of maintenance ended."""

    queues: dict[str, QueueFigures]
    now: int  # microseconds since the epoch, by the clock that wrote the ages
    maintained_s: float | None


class FleetFigures(Collector):
    """What waits, where rows are, and how many shards there are, all companies together.

    A company that does not answer has no figures, and takes none from the others. What a suspended one has waiting is
    not meant to be worked on, and does not count.
    """

    def __init__(self, control: ControlStore) -> None:
        self._control = control
        self._waiting: TTLCache[str, list[Waiting]] = TTLCache(1, _WAITING_TRUST_S)
        self._holdings: TTLCache[str, list[Holdings]] = TTLCache(1, _HOLDINGS_TRUST_S)
        self._reading = Lock()

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: to register asks no store."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Yield the figures, at most a minute old; those of queues two seconds."""
        yield from _waiting_metrics(self._read_waiting())
        yield from _holdings_metrics(self._read_holdings())

    @cachedmethod(lambda self: self._waiting, key=lambda _: "", lock=lambda self: self._reading)
    def _read_waiting(self) -> list[Waiting]:
        return self._each(_read_waiting, suspended=False)

    @cachedmethod(lambda self: self._holdings, key=lambda _: "", lock=lambda self: self._reading)
    def _read_holdings(self) -> list[Holdings]:
        return self._each(lambda connection, _: read_holdings(connection), suspended=True)

    def _each(self, read: Callable[[Connection, int], T], *, suspended: bool) -> list[T]:
        found = []
        for company in self._control.company_ids():
            with suppress(OstrakaError):
                if suspended or not self._control.terms(company).suspended:
                    records = self._control.records(company)
                    with records.database.read() as connection:
                        found.append(read(connection, records.clock()))
        return found


def _read_waiting(connection: Connection, now: int) -> Waiting:
    maintained_at = read_counter(connection, MAINTAINED_AT)
    return Waiting(read_queues(connection), now, (now - maintained_at) / 1e6 if maintained_at else None)


def _waiting_metrics(companies: list[Waiting]) -> Iterator[Metric]:
    rows = GaugeMetricFamily("ostraka_queue_rows", "Memories that wait, of all companies.", labels=["queue"])
    age = GaugeMetricFamily("ostraka_queue_oldest_age_seconds", "Age of the oldest of them.", labels=["queue"])
    waiting: dict[str, float] = defaultdict(float)
    ages: dict[str, float] = defaultdict(float)
    for company in companies:
        for queue, figures in company.queues.items():
            waiting[queue] += figures.rows
            oldest_s = 0.0 if figures.oldest_at is None else (company.now - figures.oldest_at) / 1e6
            ages[queue] = max(ages[queue], oldest_s)
    for queue, count in waiting.items():
        rows.add_metric([queue], count)
        age.add_metric([queue], ages[queue])
    maintained = GaugeMetricFamily("ostraka_maintenance_age_seconds", "Since a company was last maintained, at most.")
    maintained.add_metric([], max((each.maintained_s for each in companies if each.maintained_s), default=0.0))
    yield from (rows, age, maintained)


def _holdings_metrics(companies: list[Holdings]) -> Iterator[Metric]:
    rows = GaugeMetricFamily("ostraka_fleet_rows", "Rows of all companies by state.", labels=["state"])
    imbalance = GaugeMetricFamily("ostraka_fleet_imbalance", "Rows not accounted for, of all companies.")
    shards = GaugeMetricFamily("ostraka_fleet_shards", "Live shards of all companies by tier.", labels=["tier"])
    quarantined = GaugeMetricFamily("ostraka_fleet_quarantined_shards", "Live shards whose file was refused.")
    for place in PLACES:
        rows.add_metric([place], sum(each.balance.places[place] for each in companies))
    imbalance.add_metric([], sum(abs(each.balance.imbalance) for each in companies))
    for tier, count in sorted(sum((Counter(each.shards) for each in companies), Counter()).items()):
        shards.add_metric([str(tier)], count)
    quarantined.add_metric([], sum(each.quarantined for each in companies))
    yield from (rows, imbalance, shards, quarantined)
