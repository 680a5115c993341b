"""Whatever is done to a stored audit log, ``verify_log`` names the first entry that is not as it was written."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from core.audit.events import Event
from core.audit.log import AuditLog
from core.audit.verification import verify_log
from core.crypto.keysource import ENV_VARIABLE
from core.records.audittables import entries
from core.records.control import open_control
from core.settings import load_settings

LENGTH = 12
SEQS = st.integers(1, LENGTH)


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Iterator[AuditLog]:
    settings = load_settings(None, {"storage": {"path": tmp_path_factory.mktemp("audit") / "data"}})
    control = open_control(
        settings, {ENV_VARIABLE: base64.b64encode(bytes(32)).decode()}, clock=iter(range(10**6)).__next__
    )
    for number in range(LENGTH):
        control.audit.append([Event("key_a", f"action.{number}", company=f"co_{number % 3}" if number % 2 else None)])
    yield control.audit
    control.close()


@pytest.fixture(scope="module")
def written(log) -> list[dict[str, Any]]:
    with log.database.read() as connection:
        return [row._asdict() for row in connection.execute(select(entries).order_by(entries.c.seq))]


def first_fault(log: AuditLog, rows: list[dict[str, Any]]) -> int | None:
    """Put rows in the log's place and return the first entry that is at fault."""
    with log.database.write() as connection:
        connection.execute(delete(entries))
        if rows:
            connection.execute(insert(entries), rows)
    verdict = verify_log(log)
    assert verdict.entries == len(rows)
    assert verdict.holds == (not verdict.faults)
    return verdict.faults[0].seq if verdict.faults else None


def test_the_log_as_it_was_written_is_whole(log, written):
    assert [row["seq"] for row in written] == list(range(1, LENGTH + 1))
    assert first_fault(log, written) is None


@given(seq=SEQS, column=st.sampled_from(["sealed", "link"]), at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found(log, written, seq, column, at, bit):
    rows = [dict(row) for row in written]
    value = bytearray(rows[seq - 1][column])
    value[at % len(value)] ^= 1 << bit
    rows[seq - 1][column] = bytes(value)
    assert first_fault(log, rows) == seq


@given(seq=SEQS, change=st.sampled_from([{"at": 3}, {"company_id": "co_9"}, {"sealed": b""}, {"link": bytes(32)}]))
def test_a_changed_column_is_found(log, written, seq, change):
    rows = [dict(row) for row in written]
    rows[seq - 1] |= change
    if rows == written:
        return
    assert first_fault(log, rows) == seq


@given(seq=SEQS, count=st.integers(1, LENGTH))
def test_entries_taken_out_are_missed(log, written, seq, count):
    assert first_fault(log, written[: seq - 1] + written[seq - 1 + count :]) == seq


@given(pair=st.lists(SEQS, min_size=2, max_size=2, unique=True))
def test_entries_that_change_places_are_found(log, written, pair):
    one, other = sorted(pair)
    rows = [dict(row) for row in written]
    rows[one - 1], rows[other - 1] = rows[other - 1] | {"seq": one}, rows[one - 1] | {"seq": other}
    assert first_fault(log, rows) == one


@given(source=SEQS, target=SEQS)
def test_an_entry_put_over_another_is_found(log, written, source, target):
    rows = [dict(row) for row in written]
    rows[target - 1] = rows[source - 1] | {"seq": target}
    assert first_fault(log, rows) == (None if source == target else target)


@given(source=SEQS)
def test_an_entry_added_by_somebody_else_is_found(log, written, source):
    assert first_fault(log, [*written, written[source - 1] | {"seq": LENGTH + 1}]) == LENGTH + 1
