"""The opened shards of a host: bounded, shared by companies and processes, evicted under searches."""

import pytest

from core import limits
from core.search.filters import parse_filter

MEGABYTE = 2**20
TEXTS = 150  # enough for the opened shards of a few namespaces to overflow a cache of one megabyte


@pytest.fixture
def cramped(open_server, server_settings):
    """A server whose cache cannot hold what its namespaces have opened."""
    cache = server_settings.cache.model_copy(update={"bytes_max": MEGABYTE})
    return open_server(server_settings.model_copy(update={"cache": cache}))


def fill(server, namespace):
    server.write(
        *(
            {
                "id": f"m{number}",
                "content": f"Reading {number} of the gauge in {namespace} was taken at dawn by the keeper.",
                "metadata": {"even": number % 2 == 0, "note": "x" * 2_000},
            }
            for number in range(TEXTS)
        ),
        namespace=namespace,
    )
    server.settle()


def test_two_companies_search_in_one_process(server):
    other = server.runtime.control.create_company("other")
    tenant = server.runtime.tenant(other.id)
    server.write("ours")
    server.settle()
    assert server.contents("ours") == ["ours"]

    first, server.tenant, server.records, server.company = server.tenant, tenant, tenant.records, other.id
    server.write("theirs")
    server.settle()

    assert server.contents("ours or theirs", mode="text") == ["theirs"]
    server.tenant, server.records = first, first.records
    assert server.contents("ours or theirs", mode="text") == ["ours"]


def test_more_namespaces_than_fit_are_all_answered(cramped):
    names = ["north", "south", "east", "west"]
    for name in names:
        fill(cramped, name)

    for _ in range(2):
        for name in names:
            found = cramped.ids("gauge at dawn", namespace=name)
            assert len(found) == 10
            even = cramped.ids("gauge at dawn", namespace=name, filter=parse_filter({"even": True}))
            assert len(even) == 10
            assert all(int(id_[1:]) % 2 == 0 for id_ in even)
    assert cramped.runtime.cache.used_bytes() <= MEGABYTE


def test_a_filter_works_on_a_snapshot_whose_files_were_evicted(cramped):
    fill(cramped, "north")
    assert len(cramped.ids("gauge", namespace="north", mode="text")) == 10
    for name in ("south", "east"):
        fill(cramped, name)
        cramped.ids("gauge", namespace=name)

    assert len(cramped.ids("gauge", namespace="north", filter=parse_filter({"even": True}))) == 10


def test_a_shard_evicted_under_an_open_snapshot_is_opened_again_for_the_next(cramped, monkeypatch):
    monkeypatch.setattr(limits, "TAIL_ROWS_MAX", TEXTS)  # the first shard is sealed: later flushes leave it alone
    fill(cramped, "north")
    assert len(cramped.ids("gauge", namespace="north")) == 10
    for name in ("south", "east"):
        fill(cramped, name)
        cramped.ids("gauge", namespace=name)

    cramped.write("One more reading in north.", namespace="north")
    cramped.settle()

    assert "One more reading in north." in cramped.contents("one more reading", namespace="north")
    assert len(cramped.ids("gauge", namespace="north", mode="text")) == 10
