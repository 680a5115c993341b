"""What the commands of rotation say of a log that cannot be emptied yet, and of a company that cannot be read."""

import pytest
from sqlalchemy import select, update

from cli import rotate
from core.records.tables import companies, store

WAITS = "Readers hold a log that has the key of before"


@pytest.fixture(autouse=True)
def wide(monkeypatch) -> None:
    """Let no cell of a table be wrapped."""
    monkeypatch.setenv("COLUMNS", "1000")


def status(control, capsys) -> dict[str, str]:
    """Return the lines of the table by their first cell."""
    rotate.status(None, control.root)
    cells = [line[1:-1].split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    return {first.strip(): rest[-1].strip() for first, *rest in cells}


@pytest.mark.parametrize(
    "command", [lambda root: rotate.master(None, root), lambda root: rotate.company("default", None, root)]
)
def test_a_log_that_readers_hold_is_told_of_until_it_is_empty(control, capsys, command):
    with control.database.read() as connection:
        connection.execute(select(store)).one()
        command(control.root)
        assert WAITS in capsys.readouterr().err
        assert status(control, capsys) == {"(the store)": "log to be emptied", "default": ""}
    assert status(control, capsys) == {"(the store)": "", "default": ""}  # the start of the command emptied it


def test_a_log_that_was_emptied_is_not_spoken_of(control, capsys):
    rotate.company("default", None, control.root)
    rotate.master(None, control.root)
    assert WAITS not in capsys.readouterr().err


def test_a_company_that_cannot_be_read_hides_no_other_one(control, capsys):
    acme = control.create_company("acme").id
    with control.database.write() as connection:
        connection.execute(update(companies).where(companies.c.id == acme).values(sealed_name=b"not what was sealed"))
    found = status(control, capsys)
    assert found["default"] == ""
    assert found[acme].startswith("integrity: ")
