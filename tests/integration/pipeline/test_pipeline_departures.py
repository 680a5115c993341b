"""Companies suspended or deleted: what processes do that have them open, and what a kill at each step leaves."""

import errno
import shutil
import sqlite3
from pathlib import Path

import pytest

from core.crypto.keys import CompanyKey, NamespaceKey
from core.errors import IntegrityError, NotFound, Unavailable
from core.memory import NewMemory
from core.pipeline import departures
from core.records import folders
from core.records.lifecycle import change_terms
from core.records.reading import get_job
from core.records.tables import Lane, companies, company_keys, store
from core.records.writes import WriteRequest
from core.runtime import Runtime
from core.search.request import Scope, SearchRequest
from core.shards.cache import ShardCache
from core.tenant import Tenant
from tests.integration.processes import eventually
from tests.stores import IN_FILES, LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES


class Acme:
    """A company beside the default one, with a memory that is searchable."""

    def __init__(self, server) -> None:
        self.runtime = server.runtime
        self.id = self.runtime.control.create_company("acme").id
        self.folder: Path = self.tenant.records.folder
        self.job = self.write("The harbour opens at nine.")
        self.work()

    @property
    def tenant(self) -> Tenant:
        return self.runtime.tenant(self.id)

    def write(self, content: str) -> str:
        records = self.tenant.records
        request = WriteRequest(records.ensure_namespace("notes"), [NewMemory(content=content)], Lane.INTERACTIVE)
        return self.tenant.committer.submit(request).result(timeout=60).job_id

    def work(self) -> None:
        for queue in ("embed", "index"):
            self.runtime.work(queue, self.id)

    def state(self, job: str) -> str:
        return get_job(self.tenant.records, job).state

    def row(self):
        with self.runtime.control.database.read() as connection:
            return connection.execute(companies.select().where(companies.c.id == self.id)).one()


@pytest.fixture
def acme(server) -> Acme:
    return Acme(server)


def found(tenant: Tenant) -> list[str]:
    request = SearchRequest("when does the harbour open", 5, "hybrid", Scope())
    return [hit.memory.content for hit in tenant.query.search(tenant.records.namespace("notes"), request).hits]


def opened_shards(acme: Acme) -> list[str]:
    names = {blob.stem for blob in acme.folder.glob("shards/*/*.shard")}
    return [folder.name for folder in (acme.runtime.cache.root / "shards").iterdir() if folder.name in names]


def test_the_work_of_a_suspended_company_waits_and_goes_on(server, acme):
    control = acme.runtime.control
    change_terms(control, acme.id, suspended=True)
    eventually(lambda: control.terms(acme.id).suspended)
    job = acme.write("The lighthouse is closed.")
    acme.work()
    acme.runtime.catch_up("embed", acme.id)
    assert acme.state(job) == "pending"
    server.runtime.maintain(acme.id)  # deletions and expiry are not put off
    change_terms(control, acme.id, suspended=False)
    eventually(lambda: not control.terms(acme.id).suspended)
    acme.work()
    assert acme.state(job) == "indexed"


def test_a_drain_under_way_stops_when_its_company_is_suspended(acme, monkeypatch):
    control = acme.runtime.control
    jobs = [acme.write(f"Note {number}.") for number in range(3)]
    embed = acme.runtime.embedder.embed_passages

    def suspend_then_embed(texts, **how):
        change_terms(control, acme.id, suspended=True)
        eventually(lambda: control.terms(acme.id).suspended)
        return embed(texts, **how)

    with monkeypatch.context() as patch:
        patch.setattr(acme.runtime.embedder, "embed_passages", suspend_then_embed)
        acme.runtime.work("embed", acme.id)
        late = acme.write("A late one.")
        acme.runtime.work("embed", acme.id)
        assert acme.state(late) == "pending"
    change_terms(control, acme.id, suspended=False)
    eventually(lambda: not control.terms(acme.id).suspended)
    acme.work()
    assert {acme.state(job) for job in [*jobs, late]} == {"indexed"}


def test_a_deleted_company_leaves_nothing(acme):
    assert found(acme.tenant) == ["The harbour opens at nine."]
    shards = opened_shards(acme)
    assert shards
    departure = acme.runtime.delete_company(acme.id)
    assert departure == departures.Departure(key_erased=True, files_removed=True)
    assert not acme.folder.exists()
    assert not any((acme.runtime.cache.root / "shards" / shard).exists() for shard in shards)
    row = acme.row()
    assert row.deleted_at is not None
    assert row.removed_at is not None
    assert {row.handle, row.sealed_name, row.sealed_terms, row.sealed_roll, row.sealed_anchor} == {None}
    ring = acme.runtime.work  # one that was under way
    for ask in (lambda: acme.tenant, lambda: acme.runtime.control.records(acme.id), lambda: ring("embed", acme.id)):
        with pytest.raises(NotFound):
            ask()
    assert not acme.folder.exists()


def test_another_process_lets_go_by_itself(server, acme, open_server):
    other = open_server()
    tenant = other.runtime.tenant(acme.id)
    assert found(tenant) == ["The harbour opens at nine."]
    acme.runtime.delete_company(acme.id)
    eventually(lambda: acme.id not in other.runtime.control.opened())
    with pytest.raises(NotFound):
        other.runtime.tenant(acme.id)
    with pytest.raises(Unavailable):
        tenant.committer.submit(
            WriteRequest(tenant.records.known("notes"), [NewMemory(content="late")], Lane.INTERACTIVE)
        )
    assert [company.name for company in other.runtime.control.companies()] == ["default"]
    other.runtime.finish_departures()
    assert not acme.folder.exists()


def test_a_request_during_a_deletion_leaves_nothing_open(acme, monkeypatch):
    control = acme.runtime.control
    let_go, opened = control.let_go, []

    def request_then_let_go(company_id):
        opened.append(acme.tenant)
        let_go(company_id)

    monkeypatch.setattr(control, "let_go", request_then_let_go)
    acme.runtime.delete_company(acme.id)
    assert acme.runtime.opened(acme.id) is None
    request = WriteRequest(None, [], Lane.INTERACTIVE)
    with pytest.raises(Unavailable, match="stopping"):
        opened[0].committer.submit(request)


def test_a_folder_that_a_paused_process_made_anew_goes_too(acme):
    acme.runtime.delete_company(acme.id)
    (acme.folder / "shards" / "ns_1").mkdir(parents=True)
    acme.runtime.finish_departures()
    assert not acme.folder.exists()


class Killed(BaseException):
    """The process died here."""


def die(*_, **__):
    raise Killed


STEPS = [
    (departures, "destroy_company", False),
    (departures, "settle_erased", True),
    (departures, "_remove_departed", True),
    (departures, "_remove", True),
    (folders.shutil, "rmtree", True),
    (folders, "sync", True),
]


@pytest.mark.parametrize(("place", "step", "ended"), STEPS, ids=[step for _, step, _ in STEPS])
def test_a_deletion_killed_at_a_step_is_finished_by_the_next_start(acme, monkeypatch, open_server, place, step, ended):
    wrapped = wrapped_keys(acme)
    with monkeypatch.context() as patch:
        patch.setattr(place, step, die)
        with pytest.raises(Killed):
            acme.runtime.delete_company(acme.id)
    again = open_server().runtime
    again.finish_departures()
    assert (acme.id not in again.control.company_ids()) == ended
    assert acme.folder.exists() != ended
    if ended:
        assert acme.row().removed_at is not None
        with again.control.database.read() as connection:
            assert connection.execute(store.select()).one().keys_erased_at is None
        files = [path for path in again.control.root.iterdir() if path.is_file()]
        assert not any(key in path.read_bytes() for key in wrapped for path in files)


def fail(*_, **__):
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(
    ("place", "step", "said"),
    [
        (departures, "settle_erased", departures.Departure(key_erased=False, files_removed=True)),
        (departures, "_remove_departed", departures.Departure(key_erased=True, files_removed=False)),
        (ShardCache, "drop", departures.Departure(key_erased=True, files_removed=False)),
        (Runtime, "let_go", departures.Departure(key_erased=True, files_removed=True)),
    ],
)
def test_a_deletion_is_no_failure_once_the_key_is_destroyed(acme, monkeypatch, place, step, said):
    with monkeypatch.context() as patch:
        patch.setattr(place, step, fail)
        assert acme.runtime.delete_company(acme.id) == said
    assert acme.id not in acme.runtime.control.company_ids()
    acme.runtime.finish_departures()
    assert not acme.folder.exists()


def wrapped_keys(acme: Acme) -> list[bytes]:
    with acme.runtime.control.database.read() as connection:
        rows = connection.execute(company_keys.select().where(company_keys.c.company_id == acme.id))
        return [row.wrapped for row in rows]


@IN_FILES
def test_files_put_aside_before_do_not_open_with_any_key_that_is_left(acme, tmp_path):
    copy = tmp_path / "aside"
    acme.tenant.records.database.settle()
    shutil.copytree(acme.folder, copy)
    control = acme.runtime.control
    namespace = acme.tenant.records.namespace("notes")
    public_id, own = namespace.public_id, namespace.key
    row_id, sealed, wrapped = stored(copy)
    assert b"harbour" in own.open_row(sealed, "memories", row_id, "content")  # before, it did
    acme.runtime.delete_company(acme.id)
    rival = control.create_company("acme")  # of the same name
    secrets = [control.records(company).key.newest.secret for company in control.company_ids()]
    assert rival.id in control.company_ids()
    for secret in [*secrets, control.master.secret * 2]:
        with pytest.raises(IntegrityError):
            CompanyKey(acme.id, 1, secret).open(wrapped, "namespace-key", public_id, 1)
        with pytest.raises(IntegrityError):
            NamespaceKey(acme.id, public_id, 1, secret).open_row(sealed, "memories", row_id, "content")
    shutil.copytree(copy, acme.folder)
    with pytest.raises(NotFound):
        control.records(acme.id)
    acme.runtime.finish_departures()
    assert not acme.folder.exists()


def stored(folder: Path) -> tuple[int, bytes, bytes]:
    connection = sqlite3.connect(folder / "records.db")
    row_id, sealed = connection.execute("SELECT id, sealed FROM memories").fetchone()
    [wrapped] = connection.execute("SELECT wrapped FROM namespace_keys").fetchone()
    connection.close()
    return row_id, sealed, wrapped
