"""The page on backfills names every code, ending, field and bound that there is."""

from docpages import read, rows_named

from cli.backfill import chunks, rows, sources, tally
from core.memory import NewMemory

PAGE = read("docs/backfill.md")


def test_every_code_of_a_row_is_described():
    own = {value for name, value in vars(rows).items() if name.isupper()} | {tally.BEFORE}
    described = {code for cell in rows_named(PAGE, r"[a-z_0-9]+(`, `[a-z_0-9]+)*") for code in cell.split("`, `")}
    assert own | {"invalid_input", "fingerprint_mismatch", "invalid_vector", "nothing_accepted"} == described


def test_every_ending_and_field_is_named():
    for name in [*sources.ENDINGS, *NewMemory.model_fields]:
        assert f"`{name}`" in PAGE


def test_the_bounds_of_a_call_are_the_pages():
    assert f"calls of {chunks.ROWS_MAX:,} rows or {chunks.BYTES_MAX >> 20} MiB" in PAGE
