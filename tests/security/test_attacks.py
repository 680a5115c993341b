"""Every attack of the tables, on a real server; `pytest -s` prints what was tried and what came of it."""

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from core.records.apikeys import create_key, revoke_key, split_key
from core.records.control import ControlStore
from tests.integration.processes import Server
from tests.security import attacks, oddities
from tests.security.attacks import Attack
from tests.security.stage import ALL, Stage, opened, outcome

FIRST = attacks.without_keys()  # the first key ends what they are about
NEXT = [
    *attacks.with_credentials(),
    *attacks.beyond_scopes(),
    *attacks.across_companies(),
    *attacks.handed_on(),
    *oddities.names(),
    *oddities.paths(),
    *oddities.bodies(),
    *oddities.browsers(),
    *oddities.floods(),
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Iterator[Stage]:
    limits = {"OSTRAKA_AUTH__FAILURES_PER_MINUTE": str(oddities.FAILURES_PER_MINUTE)}
    server = Server(tmp_path_factory.mktemp("attacked"), environment=limits)
    try:
        yield Stage(server.start())
        server.stop()
    finally:
        server.discard()


def tried(stage: Stage, table: list[Attack]) -> list[str]:
    """Try each attack, print the outcome, and return those that did not end as they must."""
    wrong = []
    for name, attempt, expected in table:
        found = attempt(stage)
        sys.stdout.write(f"{name:48} {found[0]} {found[1]}\n")
        if found != expected:
            wrong.append(f"{name}: {found}, not {expected}")
    return wrong


def test_every_attack_ends_as_it_must(stage):
    assert stage.ask("GET", "/v1/whoami") == (200, "")  # a program of this machine, before the first key
    wrong = tried(stage, FIRST)
    stage.furnish()
    assert wrong + tried(stage, NEXT) == []


def change(server: Server, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(server.data / "control.db")) as database, database:
        assert database.execute(statement, values).rowcount > 0


def grant_of(server: Server, key: str) -> bytes:
    with closing(sqlite3.connect(server.data / "control.db")) as database:
        return database.execute("SELECT sealed_grant FROM api_keys WHERE id = ?", (split_key(key)[0],)).fetchone()[0]


def put_back(server: Server, control: ControlStore, keys: list[str]) -> None:
    """Revoke a key, and put its row back as it was."""
    before = grant_of(server, keys[0])
    revoke_key(control, split_key(keys[0])[0])
    change(server, "UPDATE api_keys SET sealed_grant = ? WHERE id = ?", before, split_key(keys[0])[0])


def swap(server: Server, _: ControlStore, keys: list[str]) -> None:
    """Give two keys each other's grants."""
    grants = [grant_of(server, key) for key in keys]
    for key, grant in zip(keys, reversed(grants), strict=True):
        change(server, "UPDATE api_keys SET sealed_grant = ? WHERE id = ?", grant, split_key(key)[0])


def remove(server: Server, _: ControlStore, keys: list[str]) -> None:
    """Remove the other key's row."""
    change(server, "DELETE FROM api_keys WHERE id = ?", split_key(keys[1])[0])


def forget(server: Server, control: ControlStore, keys: list[str]) -> None:
    """Remove the roll."""
    company = control.company_ids()[-1]
    change(server, "UPDATE companies SET sealed_roll = NULL WHERE id = ?", company)


def mark(server: Server, control: ControlStore, keys: list[str]) -> None:
    """Make the company look like one of an earlier version."""
    company = control.company_ids()[-1]
    change(server, "UPDATE companies SET sealed_roll = x'' WHERE id = ?", company)


TAMPERING: list[Callable[[Server, ControlStore, list[str]], None]] = [put_back, swap, remove, forget, mark]


def test_keys_that_were_tampered_with_close_their_company_and_no_other(stage):
    server = stage.server
    tampered: dict[str, str] = {}
    with opened(server) as control:
        good = create_key(control, control.create_company("untouched").id, ALL, ["*"], None)
        for tamper in TAMPERING:
            company = control.create_company(tamper.__name__).id
            keys = [create_key(control, company, [scope], ["*"], None) for scope in ("read", "write")]
            tampered[tamper.__doc__ or ""] = keys[0]
            server.client.get("/health")
            tamper(server, control, keys)
    server.stop()
    server.start()
    outcomes = {name: outcome(stage.send("GET", "/v1/whoami", key)) for name, key in tampered.items()}
    assert set(outcomes.values()) == {(500, "integrity")}, outcomes
    assert stage.ask("GET", "/v1/whoami", good) == (200, "")
    assert server.event("api_keys_refused")["code"] == "integrity"
