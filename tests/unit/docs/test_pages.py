import re
import tomllib

import pytest
import typer
from docpages import NAMES, ROOT, code_of, read, rows_named
from fastapi.routing import APIRoute

from api.routes import (
    admin,
    audit,
    companies,
    deletions,
    failures,
    health,
    jobs,
    keys,
    namespaces,
    reading,
    searching,
    writing,
)
from cli.main import app

COMMAND = typer.main.get_command(app)
MODULES = (health, jobs, namespaces, reading, searching, writing, deletions, failures, admin, keys, audit, companies)
ROUTES = {
    (method, route.path)
    for module in MODULES
    for route in module.router.routes
    if isinstance(route, APIRoute)
    for method in route.methods
}


def anchors(name: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", read(name), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", read(name)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        page = (ROOT / name).parent / path if path else ROOT / name
        assert page.exists(), target
        if anchor:
            assert anchor in anchors(str(page.resolve().relative_to(ROOT))), target


@pytest.mark.parametrize("name", NAMES)
def test_files_named_exist(name):
    for code in code_of(name):
        for path in re.findall(r"(?<![\w./<-])(?:api|cli|core|sdk|tests|workers|docs)/[\w/.-]+\.(?:py|md)\b", code):
            assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("name", NAMES)
def test_commands_exist(name):
    for code in code_of(name):
        for words in re.findall(r"(?:^|/)ostraka ([a-z][a-z -]*)", code):
            found = COMMAND
            for word in words.split():
                if not hasattr(found, "commands"):
                    break
                assert word in found.commands, f"ostraka {words}"
                found = found.commands[word]


@pytest.mark.parametrize("name", NAMES)
def test_routes_exist(name):
    for code in code_of(name):
        for method, path in re.findall(r"\b(GET|POST|PUT|PATCH|DELETE) (/[\w/{}.]+)", code):
            assert (method, path) in ROUTES, f"{method} {path}"


@pytest.mark.parametrize("name", NAMES)
def test_targets_exist(name):
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", read("Makefile"), re.MULTILINE))
    named = {target for code in code_of(name) for target in re.findall(r"(?:^|\s)make ([a-z0-9-]+)", code)}
    assert named <= targets
    if name == "CONTRIBUTING.md":
        assert set(rows_named(read(name), "make .*")) == {f"make {target}" for target in targets}


def test_the_changelog_knows_the_version():
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert re.search(rf"^## {re.escape(version)}\b", read("CHANGELOG.md"), re.MULTILINE)


def test_every_decision_is_listed():
    records = {page.name for page in (ROOT / "docs/decisions").glob("[0-9]*.md")}
    assert set(re.findall(r"\]\((\d{4}[\w-]+\.md)\)", read("docs/decisions/README.md"))) == records


def test_the_architecture_stays_readable():
    assert len(read("ARCHITECTURE.md").splitlines()) < 480
