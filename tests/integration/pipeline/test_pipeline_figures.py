"""What the stages measure, and what every process reads from the record stores."""

import pytest
from pending import LEASE_S, note
from prometheus_client.parser import text_string_to_metric_families

from core.embedding.runtime import Embedder
from core.observing.exposition import Exposition
from core.records.lifecycle import change_terms
from core.records.tables import Lane
from tests.integration.processes import eventually
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

AGE = "ostraka_queue_oldest_age_seconds"


def shown(runtime) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = Exposition(runtime).of_worker().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(runtime, name: str, **labels: str) -> float:
    return shown(runtime)[name, frozenset(labels.items())]


def test_each_stage_is_timed_and_counted(server):
    server.write(note(0), note(1))
    server.write(note(2), lane=Lane.BULK)
    server.settle()
    found = shown(server.runtime)

    def of(name: str, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    for stage in ("commit", "claim", "embed", "store", "build", "publish"):
        assert of("ostraka_stage_duration_seconds_count", stage=stage) >= 1
    assert of("ostraka_embedded_total", queue="embed") == 2
    assert of("ostraka_embedded_total", queue="embed-bulk") == 1
    assert of("ostraka_indexed_total", queue="embed") + of("ostraka_indexed_total", queue="embed-bulk") == 3
    assert of("ostraka_group_commit_requests_sum") == 2
    batch_rows = server.runtime.settings.embeddings.batch_size
    assert of("ostraka_batch_fill_ratio_sum", queue="embed") == pytest.approx(2 / batch_rows)
    assert of("ostraka_batch_fill_ratio_sum", queue="embed-bulk") == pytest.approx(1 / (2 * batch_rows))
    assert of("ostraka_searchable_after_seconds_count", queue="embed") >= 1
    assert of("ostraka_fleet_rows", state="indexed") == 3
    assert of("ostraka_fleet_imbalance") == 0
    assert of("ostraka_fleet_shards", tier="0") == 1
    assert of("process_open_fds") > 0


def test_how_long_a_memory_was_on_its_way_is_measured_from_its_acceptance(server, clock):
    server.write(note(0))
    clock.advance(40)
    server.settle()
    assert value(server.runtime, "ostraka_searchable_after_seconds_sum", queue="embed") == pytest.approx(40)


def test_the_age_of_what_waits_grows_until_it_is_done(server, clock):
    assert value(server.runtime, AGE, queue="embed") == 0
    server.write(note(0))
    server.write(note(1), lane=Lane.BULK)
    clock.advance(90)
    for queue in ("embed", "embed-bulk"):
        assert value(server.runtime, AGE, queue=queue) == 90
        assert value(server.runtime, "ostraka_queue_rows", queue=queue) == 1
    server.embed()
    assert value(server.runtime, AGE, queue="embed") == 0
    assert value(server.runtime, AGE, queue="index") == 90
    assert value(server.runtime, "ostraka_queue_rows", queue="index") == 2
    server.index()
    assert {value(server.runtime, AGE, queue=queue) for queue in ("embed", "embed-bulk", "index")} == {0}


@pytest.mark.parametrize("record_store", ["postgres"], indirect=True)
def test_the_figures_are_read_from_postgresql_too(server, clock):
    server.write(note(0))
    server.write(note(1), lane=Lane.BULK)
    clock.advance(90)
    assert value(server.runtime, AGE, queue="embed") == value(server.runtime, AGE, queue="embed-bulk") == 90
    server.settle()
    found = shown(server.runtime)
    assert found["ostraka_fleet_rows", frozenset({("state", "indexed")})] == 2
    assert found["ostraka_fleet_shards", frozenset({("tier", "0")})] == 1
    assert found["ostraka_fleet_imbalance", frozenset()] == 0


def test_every_process_reads_the_same_and_measures_its_own(server, open_server):
    other = open_server()
    server.write(note(0))
    server.settle()
    for runtime in (server.runtime, other.runtime):
        assert value(runtime, "ostraka_fleet_rows", state="indexed") == 1
    assert value(server.runtime, "ostraka_embedded_total", queue="embed") == 1
    assert value(other.runtime, "ostraka_embedded_total", queue="embed") == 0


def test_the_figures_are_of_all_companies_but_a_suspended_one_waits_for_nobody(server, clock):
    control = server.runtime.control
    other = control.create_company("other").id
    records, tenant = server.records, server.tenant
    server.records, server.tenant = control.records(other), server.runtime.tenant(other)
    server.write(note(0))
    clock.advance(60)
    server.records, server.tenant = records, tenant
    server.write(note(1))
    clock.advance(10)
    assert value(server.runtime, AGE, queue="embed") == 70
    assert value(server.runtime, "ostraka_queue_rows", queue="embed") == 2
    change_terms(control, other, suspended=True)
    eventually(lambda: control.terms(other).suspended)
    assert value(server.runtime, AGE, queue="embed") == 10
    assert value(server.runtime, "ostraka_queue_rows", queue="embed") == 1
    assert value(server.runtime, "ostraka_fleet_rows", state="pending") == 2


def test_a_lease_that_ran_out_is_counted_by_whoever_takes_over_and_the_late_result_by_who_was_late(
    server, open_server, clock, monkeypatch
):
    other = open_server()
    server.write(note(0), note(1))
    embed = Embedder.embed_passages

    def embed_late(embedder, texts, **how):
        clock.advance(LEASE_S + 1)
        monkeypatch.setattr(Embedder, "embed_passages", embed)
        other.embed()
        return embed(embedder, texts, **how)

    monkeypatch.setattr(Embedder, "embed_passages", embed_late)
    server.embed()
    assert value(other.runtime, "ostraka_lease_expiries_total", queue="embed") == 2
    assert value(other.runtime, "ostraka_late_results_total", queue="embed") == 0
    assert value(server.runtime, "ostraka_lease_expiries_total", queue="embed") == 0
    assert value(server.runtime, "ostraka_late_results_total", queue="embed") == 2
    assert value(server.runtime, "ostraka_embedded_total", queue="embed") == 0


def test_rows_that_fail_are_counted_by_reason(server, clock, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("no")

    monkeypatch.setattr(Embedder, "embed_passages", refuse)
    server.write(note(0))
    for _ in range(server.runtime.settings.queue.attempts_max):
        server.embed()
        clock.advance(400)
    assert value(server.runtime, "ostraka_rows_failed_total", reason="embedding_failed") == 1
    assert value(server.runtime, "ostraka_fleet_rows", state="failed") == 1
    assert value(server.runtime, "ostraka_lease_expiries_total", queue="embed") == 0  # they were given back each time


def test_a_shard_built_in_vain_is_counted(open_server, clock, during_build):
    slow, fast = open_server(), open_server()
    slow.write(note(0))
    slow.embed()

    def overtake() -> None:
        clock.advance(LEASE_S + 1)
        fast.index()

    during_build(overtake)
    slow.index()
    assert value(slow.runtime, "ostraka_commits_overtaken_total") == 1
    assert value(fast.runtime, "ostraka_commits_overtaken_total") == 0
    assert value(fast.runtime, "ostraka_indexed_total", queue="embed") == 1


def test_the_cache_counts_what_it_found_and_what_it_had_to_open(server, open_server):
    server.write(note(0))
    server.settle()
    other = open_server()
    other.search("harbour")
    other.runtime.cache.drop(server.shards()[0].public_id)
    other.runtime.tenant(other.company).snapshots.close()
    other.search("harbour")
    assert value(other.runtime, "ostraka_cache_hits_total") == 1
    assert value(other.runtime, "ostraka_cache_misses_total") == 1
    assert value(other.runtime, "ostraka_cache_bytes") > 0
    assert value(other.runtime, "ostraka_cache_bytes_max") == other.runtime.cache.bytes_max


def test_the_generation_lag_is_that_of_open_snapshots(server):
    assert value(server.runtime, "ostraka_generation_lag") == 0
    for number in range(3):
        server.write(note(number))
        server.settle()
        if number == 0:
            server.search("harbour")
    assert value(server.runtime, "ostraka_generation_lag") == 2
    server.search("harbour")
    assert value(server.runtime, "ostraka_generation_lag") == 0
