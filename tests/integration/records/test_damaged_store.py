"""Pages of a record store that are not SQLite's any more: said so, with a code of its own."""

import pytest
from sqlalchemy import text

from core.errors import Unavailable
from core.records.sqlite import open_sqlite


def read(path):
    with open_sqlite(path, "company").read() as connection:
        connection.execute(text("SELECT * FROM memories")).all()


@pytest.mark.parametrize("begin", [0, 4_096])  # the file's head, and a page behind it
def test_a_damaged_file_is_called_damaged(tmp_path, rng, begin):
    path = tmp_path / "records.db"
    opened = open_sqlite(path, "company")
    opened.settle()
    opened.close()
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(rng.randbytes(path.stat().st_size - begin))

    with pytest.raises(Unavailable) as refused:
        read(path)

    assert refused.value.reason == "store_damaged"
