"""The watch: finds what nobody rang for, for each company by itself, whatever happens to the others."""

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from core.errors import Unavailable
from core.memory import NewMemory
from core.pipeline.doorbell import EMBED, INDEX
from core.records.reading import get_job
from core.records.tables import Lane, company_keys
from core.records.writes import WriteRequest
from tests.integration.processes import eventually
from tests.stores import LONG_ON_POSTGRES
from workers.pulse import Pulse
from workers.tasks import perform
from workers.watch import Watch

RECORD_STORES = LONG_ON_POSTGRES


@pytest.fixture
def watch(server, rng):
    watch = Watch(server.runtime, (EMBED, INDEX), 0.02, rng, Pulse(), 60)
    yield watch
    watch.stop()


def company_with_a_memory(server, name: str) -> tuple[str, str]:
    """Make a company and write to it; return its id and the job's."""
    company = server.runtime.control.create_company(name).id
    tenant = server.runtime.tenant(company)
    request = WriteRequest(tenant.records.ensure_namespace("notes"), [NewMemory(content=name)], Lane.INTERACTIVE)
    return company, tenant.committer.submit(request).result(timeout=60).job_id


def indexed(server, company: str, job: str) -> bool:
    return get_job(server.runtime.control.records(company), job).state == "indexed"


def break_company(server, name: str) -> str:
    company = server.runtime.control.create_company(name).id
    server.clock.advance(1)
    with server.runtime.control.database.write() as connection:
        connection.execute(
            update(company_keys).where(company_keys.c.company_id == company).values(wrapped=b"not a key")
        )
    return company


def test_a_company_that_cannot_be_opened_stops_no_other(server, watch):
    server.clock.advance(1)
    broken = break_company(server, "broken")
    sound, job = company_with_a_memory(server, "behind it")

    with capture_logs() as logs:
        watch.start()
        eventually(lambda: indexed(server, sound, job))
        failures = [each for each in logs if each["event"] == "catch_up_failed"]
    assert {(each["subject"], each["error"]) for each in failures} == {(broken, "integrity")}
    assert all(each["again_in_s"] >= 0 for each in failures)


def test_a_control_store_that_does_not_answer_for_a_while_is_survived(server, watch, monkeypatch):
    company, job = company_with_a_memory(server, "patient")
    list_ids, refusals = server.runtime.control.company_ids, [Unavailable("locked", code="store_busy")] * 2

    def list_or_refuse():
        if refusals:
            raise refusals.pop()
        return list_ids()

    monkeypatch.setattr(server.runtime.control, "company_ids", list_or_refuse)
    watch.start()
    eventually(lambda: indexed(server, company, job))
    assert refusals == []


def test_a_task_that_fails_tells_its_kind_and_nothing_of_what_it_held(server, monkeypatch):
    def fail(*_):
        raise ValueError("the content of a memory")

    monkeypatch.setattr(server.runtime, "embed", fail)
    with capture_logs() as logs:
        perform(server.runtime, EMBED, server.company)
        perform(server.runtime, EMBED, "co_unknown")
    assert [(each["event"], each.get("code")) for each in logs] == [
        ("work_failed", "ValueError"),
        ("company_unknown", None),
    ]
    assert "content" not in str(logs)
