"""The intruder notices leaks: each of these is planted on purpose, and must be found."""

from collections import Counter
from dataclasses import replace

import pytest

from api.access import Access
from api.metrics import Metrics
from api.routes import jobs, reading, searching
from core.errors import NotFound
from core.records.company import CompanyRecords
from core.records.grants import Grant, Principal
from core.records.reading import get_job
from core.runtime import Runtime
from core.search.service import QueryService
from tests.security.intruder import FORMS, Intruder, LeakError
from tests.stores import BOTH

RECORD_STORES = BOTH

REQUESTS_MAX = 3_000


def no_patterns(patch, inside):
    patch.setattr(Principal, "covers", lambda *_: True)


def no_scopes(patch, inside):
    patch.setattr(Principal, "require", lambda *_: None)


def no_ends_of_keys(patch, inside):
    patch.setattr(Grant, "holds", lambda *_: True)
    patch.setattr(inside.client.app.state.guard, "_credentials", None)  # judged anew


def everybody_in_one_company(patch, inside):
    tenant = inside.runtime.tenant(inside.ids["two"])
    for opening in ("tenant", "opened"):
        patch.setattr(Runtime, opening, lambda *_: tenant)


def pages_of_every_namespace(patch, inside):
    patch.setattr(Access, "listed", lambda *_: None)


def jobs_of_every_namespace(patch, inside):
    patch.setattr(jobs, "_job", lambda caller, *names: get_job(caller.tenant.records, names[-1]))


def searches_in_the_first_namespace(patch, inside):
    search = QueryService.search
    patch.setattr(QueryService, "search", lambda self, _, asked: search(self, self._records.namespaces()[0], asked))


def lists_of_the_first_namespace(patch, inside):
    listed = reading.list_memories
    patch.setattr(reading, "list_memories", lambda records, _, **more: listed(records, records.namespaces()[0], **more))


def a_look_into_every_company(patch, inside):
    expose = Metrics.expose

    def look_around(metrics, company, **more):
        for each in inside.ids.values():
            inside.runtime.control.records(each).namespaces()
        return expose(metrics, company, **more)

    patch.setattr(Metrics, "expose", look_around)


def waiting_for_every_job(patch, inside):
    patch.setattr(searching, "get_job", lambda records, name: replace(get_job(records, name), namespace="agent-1"))


def names_in_refusals(patch, inside):
    namespace = CompanyRecords.namespace

    def named(records, name):
        try:
            return namespace(records, name)
        except NotFound:
            raise NotFound(f"there is no namespace {name}") from None

    patch.setattr(CompanyRecords, "namespace", named)


def another_refusal_for_what_is_not_there(patch, inside):
    def looked_up_first(access, name):
        found = access.tenant.records.namespace(name)
        access.principal.require_namespace(name)
        return found

    patch.setattr(Access, "namespace", looked_up_first)


@pytest.mark.parametrize(
    ("leak", "place"),
    [
        (no_patterns, ""),
        (no_scopes, ""),
        (no_ends_of_keys, ""),
        (everybody_in_one_company, ""),
        (pages_of_every_namespace, ""),
        (jobs_of_every_namespace, "/v1/jobs"),
        (waiting_for_every_job, "after_job"),
        (searches_in_the_first_namespace, "/search"),
        (lists_of_the_first_namespace, "/v1/memory"),
        (a_look_into_every_company, "/metrics"),
        (names_in_refusals, ""),
        (another_refusal_for_what_is_not_there, ""),
    ],
)
def test_a_leak_is_noticed(world, inside, rng, monkeypatch, leak, place):
    """Where one shows on few routes, requests of those alone are sent."""
    leak(monkeypatch, inside)
    intruder = Intruder(world, rng, inside.touched, [form for form in FORMS if place in form.text])
    with pytest.raises(LeakError):
        Counter(intruder.attack() for _ in range(REQUESTS_MAX))
