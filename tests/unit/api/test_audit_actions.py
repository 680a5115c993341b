"""Every route and command has an action, or is known to look only; every action is described."""

import ast
import inspect
import re
from pathlib import Path

import typer

from api.auditing import ACTIONS
from api.permissions import PERMISSIONS
from cli.main import app
from core.audit.events import LOST

ROOT = Path(__file__).parents[3]
RECORDING = {"recorded", "_changed_records"}  # the functions of commands that name an action
LOOKING = {  # these change nothing, or run a server whose requests are recorded, or know no store
    "api",
    "audit list",
    "audit verify",
    "backup inspect",
    "backup list",
    "backup verify",
    "companies list",
    "backfill",  # the server that it writes to records it
    "demo",
    "doctor",
    "failures list",
    "flower",
    "keys list",
    "models fetch",
    "models import",
    "models list",
    "query",
    "rotate status",
    "scheduler",
    "serve",
    "verify-deleted",
    "worker",
    "upgrade",  # what any start does
}


def commands(group, *words: str) -> dict[str, object]:
    if not hasattr(group, "commands"):
        return {" ".join(words): group.callback}
    parts = [commands(command, *words, name) for name, command in group.commands.items()]
    return {name: callback for part in parts for name, callback in part.items()}


def command_actions() -> set[str]:
    calls = [
        node
        for source in (ROOT / "cli").glob("*.py")
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RECORDING
    ]
    named = [argument.value for call in calls for argument in call.args[:2] if isinstance(argument, ast.Constant)]
    assert named
    return set(named)


def test_every_route_has_an_action():
    assert set(ACTIONS) == set(PERMISSIONS)


def test_every_administrative_route_writes_before_it_answers():
    changing = {route for route in ACTIONS if route[1].startswith("/admin/") and route[0] != "GET"}
    administrative = {route for route, action in ACTIONS.items() if action.administrative}
    assert administrative == changing | {("DELETE", "/v1/namespaces/{name}")}
    assert {action.name for action in ACTIONS.values() if action.while_frozen} == {"server.freeze"}
    assert {action.name for action in ACTIONS.values() if action.regardless} == {"server.unfreeze"}


def test_every_command_that_changes_something_is_recorded():
    recording = re.compile(r"\b(recorded|_changed_records|_change)\(")
    found = commands(typer.main.get_command(app))
    silent = {name for name, callback in found.items() if not recording.search(inspect.getsource(callback))}
    assert silent == LOOKING


def test_every_action_is_described_and_no_other():
    page = (ROOT / "docs" / "audit.md").read_text().partition("## Actions")[2]
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    described = [name for cell in cells for name in re.findall(r"`([a-z_.]+)`", cell)]
    used = {action.name for action in ACTIONS.values()} | command_actions() | {LOST}
    assert sorted(described) == sorted(used)
