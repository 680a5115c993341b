"""Commands whose audit log breaks under them, in this process: nothing begins unrecorded, and nothing done is lost."""

import pytest
from sqlalchemy import text

from cli import freeze, keys
from cli.auditing import recorded
from core.errors import NotFound, Unavailable
from core.pipeline import freezing
from core.records.apikeys import create_key, list_keys, split_key
from core.records.apikeys import rotate_key as rotate
from core.records.frozen import Freeze


def break_log(control):
    with control.audit.database.engine.begin() as connection:
        connection.execute(text("DROP TABLE entries"))


@pytest.fixture
def company(control):
    return control.find_company("default").id


def test_a_rotated_key_is_printed_though_its_end_cannot_be_recorded(control, company, monkeypatch, capsys):
    old = split_key(create_key(control, company, ["admin"], ["*"], None, None))[0]

    def rotate_as_the_log_breaks(*given):
        key = rotate(*given)
        break_log(control)
        return key

    monkeypatch.setattr(keys, "rotate_key", rotate_as_the_log_breaks)
    keys.rotate(old, "1h", None, control.root)
    printed, said = capsys.readouterr()
    assert split_key(printed.strip())[0] in {key.id for key in list_keys(control, company)} - {old}
    assert said.startswith("the audit log does not say that key.rotate is ok: ")


def test_a_failure_is_told_and_not_that_it_could_not_be_recorded(control, capsys):
    def revoke() -> None:
        with recorded(control, "key.revoke"):
            break_log(control)
            raise NotFound("of its own")

    with pytest.raises(NotFound, match="of its own"):
        revoke()
    assert "that key.revoke is refused:not_found" in capsys.readouterr().err


def test_nothing_begins_that_cannot_be_recorded(control, company):
    break_log(control)
    with pytest.raises(Unavailable):
        keys.create("default", "read", None, None, None, None, control.root)
    assert list_keys(control, company) == []


def test_a_freeze_is_ended_though_it_cannot_be_recorded(control, capsys):
    control.audit.begin()
    freezing.freeze(control)
    control.audit.database.set_freeze(Freeze())  # so that it is not the freeze which keeps it from being written
    break_log(control)
    freeze.unfreeze(None, control.root)
    printed, said = capsys.readouterr()
    assert "open: writes are taken\n" in printed
    assert "server.unfreeze is begun" in said
    assert "server.unfreeze is ok" in said
    assert freezing.freeze_state(control).state == "open"
