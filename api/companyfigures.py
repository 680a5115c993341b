"""Every company in figures, by its opaque id: for the operator alone."""

from collections.abc import Iterator
from contextlib import suppress
from threading import Lock
from typing import Final

from cachetools import TTLCache, cachedmethod
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.errors import OstrakaError
from core.records.backlog import Load
from core.records.usage import read_usage
from core.runtime import Runtime

_COUNTED_S: Final = 10.0  # each scrape asks for every company, and a count takes 0.06 s for a million rows
_COMPANIES_MAX: Final = 10_000  # more are counted at each scrape


class CompanyFigures(Collector):
    """What each company keeps, whether it is suspended, and what this process refused it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._counted: TTLCache[str, Load] = TTLCache(_COMPANIES_MAX, _COUNTED_S)
        self._counting = Lock()

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: to register asks no store."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Yield the present figures; a company that does not answer has none, and takes none from the others."""
        memories = GaugeMetricFamily("ostraka_company_memories", "Rows kept, versions included.", labels=["company"])
        size = GaugeMetricFamily("ostraka_company_bytes", "Bytes of them, before sealing.", labels=["company"])
        suspended = GaugeMetricFamily("ostraka_company_suspended", "1 while it is suspended.", labels=["company"])
        refused = CounterMetricFamily("ostraka_quota_refusals", "Writes refused by quota.", labels=["company"])
        for company in self._runtime.control.company_ids():
            with suppress(OstrakaError):
                usage = self._usage(company)
                suspended.add_metric([company], float(self._runtime.control.terms(company).suspended))
                memories.add_metric([company], usage.rows)
                size.add_metric([company], usage.bytes)
                tenant = self._runtime.opened(company)
                refused.add_metric([company], tenant.admission.over_quota if tenant else 0)
        yield from (memories, size, suspended, refused)

    @cachedmethod(lambda self: self._counted, key=lambda _, company: company, lock=lambda self: self._counting)
    def _usage(self, company: str) -> Load:
        with self._runtime.control.records(company).database.read() as connection:
            return read_usage(connection)
