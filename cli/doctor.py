"""``ostraka doctor``: what is well with a data directory and what is not, whether a server runs on it or none does."""

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.options import settings_of
from cli.private_redis import private_socket
from core.audit.verification import verify_log
from core.embedding.fingerprint import fingerprint_of
from core.embedding.importing import find_spec
from core.embedding.manifest import read_manifest
from core.embedding.models import default_models_dir
from core.errors import OstrakaError
from core.pipeline import diagnosis
from core.pipeline.diagnosis import Finding, Verdict, attempt, found
from core.records.company import CompanyRecords
from core.records.control import ControlStore, open_control
from core.records.ledger import PLACES, Balance, audit_ledger, public_ids, total
from core.records.places import Place, open_place
from core.redisurl import redis_url_of
from core.settings import Settings
from workers.broker import ping

_WIDTH_IN_PIPES: Final = 400  # nothing is folded there
_NAMESPACES_SHOWN: Final = 50
_COLOURS: Final = {Verdict.OK: "green", Verdict.DEGRADED: "yellow", Verdict.FAILED: "red"}


def run_doctor(config: Path | None, data: Path | None) -> int:
    """Print what every check found; return 0 when all is well, else 1."""
    console = Console() if Console().is_terminal else Console(width=_WIDTH_IN_PIPES)
    table = Table("", "check", "verdict", "found")
    verdicts = set()
    ledgers: dict[str, Mapping[str, Balance]] = {}
    with Console(stderr=True).status("Looking") as status:
        for owner, finding in _examine(config, data, ledgers):
            colour = _COLOURS[finding.verdict]
            table.add_row(owner, finding.check, f"[{colour}]{finding.verdict}[/]", escape(finding.detail))
            verdicts.add(finding.verdict)
            status.update(f"Looked at: {finding.check}")
    console.print(table)
    for company, balances in ledgers.items():
        console.print(_ledger_table(company, balances))
    return int(verdicts != {Verdict.OK})


def _examine(
    config: Path | None, data: Path | None, ledgers: dict[str, Mapping[str, Balance]]
) -> Iterator[tuple[str, Finding]]:
    """Yield each finding behind the company that it is about, if it is about one; fill ``ledgers`` on the way."""
    try:
        settings = settings_of(config, data)
    except OstrakaError as error:
        yield "", found("settings", error.message, failed=True)
        return
    yield "", found("settings", "understood")
    root = settings.storage.path.absolute()
    yield "", attempt("cache", partial(_cache, settings))
    try:
        place = open_place(settings.storage, os.environ)
        empty = place.revision("control") is None
    except OstrakaError as error:
        yield "", found("record store", error.message, failed=True)
        return
    if empty:
        yield "", found("data directory", f"{place.where} holds no data; the first start makes some", failed=True)
        return
    yield "", attempt("data directory", partial(diagnosis.look_at_directory, root))
    yield "", attempt("disk", partial(diagnosis.look_at_disk, root, settings.storage.free_bytes_min))
    yield "", attempt("Redis", partial(_redis, settings, root))
    schemas = [attempt("schema", look) for look in _schemas(place)]
    place.close()
    yield from (("", finding) for finding in schemas)
    if any(finding.verdict is not Verdict.OK for finding in schemas):
        return  # to open the store would change its schema
    try:
        control = open_control(settings)
    except OstrakaError as error:
        yield "", found("master key", error.message, failed=True)
        return
    try:
        yield "", found("master key", f"{control.master.key_id} fits, from {control.key_source.where}")
        yield "", attempt("audit log", partial(_audit, control))
        yield "", attempt("index files", partial(diagnosis.look_at_depot, control.depot))
        for company in control.companies():
            for finding in _company(control, company.id, settings, ledgers):
                yield company.id, finding
    except OstrakaError as error:
        yield "", found("companies", error.message, failed=True)
    finally:
        control.close()


def _schemas(place: Place) -> Iterator[partial[Finding]]:
    yield partial(diagnosis.look_at_schema, place, "control")
    if place.revision("audit") is not None:
        yield partial(diagnosis.look_at_schema, place, "audit")
    for company in place.companies():
        if place.revision("company", company) is not None:
            yield partial(diagnosis.look_at_schema, place, "company", company)


def _company(
    control: ControlStore, company: str, settings: Settings, ledgers: dict[str, Mapping[str, Balance]]
) -> Iterator[Finding]:
    try:
        records = control.records(company)
    except OstrakaError as error:
        yield found("record store", error.message, failed=True)
        return
    yield attempt("record store", partial(diagnosis.look_at_database, records))
    yield attempt("keys", partial(diagnosis.look_at_keys, control, records))
    yield attempt("ledger", partial(_ledger, records, ledgers))
    if company in ledgers:
        yield diagnosis.look_at_failures(total(ledgers[company].values()))
    yield attempt("queues", partial(diagnosis.look_at_queues, records, settings.queue.stalled_s))
    yield attempt("shards", partial(diagnosis.look_at_shards, records, control.depot.of(company)))
    yield attempt("model", partial(_model, records, settings))


def _audit(control: ControlStore) -> Finding:
    verdict = verify_log(control.audit)
    if verdict.holds:
        return found("audit log", f"whole, {verdict.entries:,} entries")
    first = verdict.faults[0]
    return found("audit log", f"entry {first.seq}: {first.what}; `ostraka audit verify` tells more", failed=True)


def _cache(settings: Settings) -> Finding:
    cache = settings.cache
    return diagnosis.look_at_cache(cache.path, cache.bytes_max, allow_disk=cache.allow_disk)


def _redis(settings: Settings, root: Path) -> Finding:
    if settings.queue.redis_url:
        answers = ping(redis_url_of(settings.queue))
        return found("Redis", "answers" if answers else "does not answer at [queue] redis_url", failed=not answers)
    if not _served(root / "run"):
        return found("Redis", "the private one starts with `ostraka serve`, which does not run here")
    if (socket := private_socket(root / "run")) is None:
        return found("Redis", "the private one runs on a socket that only its server knows")
    answers = ping(f"redis+socket://{socket}")
    return found("Redis", f"the private one {'answers' if answers else 'does not answer'}", failed=not answers)


def _served(run_directory: Path) -> bool:
    """Say whether ``ostraka serve`` runs on the data directory: it holds this lock for as long as it lives."""
    if not run_directory.is_dir():
        return False
    try:
        with FileLock(run_directory / "serve.lock", timeout=0):
            return False
    except Timeout:
        return True


def _ledger(records: CompanyRecords, ledgers: dict[str, Mapping[str, Balance]]) -> Finding:
    with records.database.read() as connection:
        names, audited = public_ids(connection), audit_ledger(connection)
    gone = total(balance for namespace, balance in audited.items() if namespace not in names)
    balances = {names[namespace]: balance for namespace, balance in audited.items() if namespace in names}
    ledgers[records.company] = balances | ({"deleted namespaces": gone} if gone.accepted else {})
    return diagnosis.look_at_ledger(ledgers[records.company])


def _model(records: CompanyRecords, settings: Settings) -> Finding:
    models = default_models_dir()
    folder = models / find_spec(settings.embeddings.model, models).name
    if not folder.is_dir():
        return found("model", f"{settings.embeddings.model} is not installed; `ostraka models fetch`", degraded=True)
    return diagnosis.look_at_models(records, fingerprint_of(read_manifest(folder), settings.embeddings.precision))


def _ledger_table(company: str, balances: Mapping[str, Balance]) -> Table:
    """Return the balances of a company, those that do not balance and the largest first."""
    table = Table("namespace", "accepted", *PLACES, "imbalance", title=f"Ledger of {company}", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    ordered = sorted(balances.items(), key=lambda item: (not item[1].imbalance, -item[1].accepted))
    shown = [*ordered[:_NAMESPACES_SHOWN], ("all", total(balances.values()))]
    for name, balance in shown:
        numbers = (balance.accepted, *(balance.places[place] for place in PLACES), balance.imbalance)
        table.add_row(name, *(f"{number:,}" for number in numbers))
    return table
