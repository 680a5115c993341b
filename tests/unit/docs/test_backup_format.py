"""The section on backups in docs/FORMAT.md is what the code writes."""

import base64
import hashlib
import re
import struct

import orjson
from docpages import read

from core.backup.header import Header
from core.backup.manifest import FORMAT, HASHES_NAME, MANIFEST_NAME, SavedCompany, SavedNamespace, SavedShard
from core.crypto.keys import MasterKey, unwrap_backup_key
from core.crypto.sealedfile import Purpose, open_stream
from tests.backups import back_up, records_of, remember

SECTION = read("docs/FORMAT.md").partition("## 11. Backups")[2]
MASTER = MasterKey(bytes(range(32)))
HEADER = Header("backup_a", 5, "store_a", MASTER.key_id, 1, b"wrapped")


def named(rows: str) -> list[str]:
    cells = [line.split("|")[1] for line in rows.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)]


def test_the_heads_bytes():
    head = HEADER.to_bytes()
    text = orjson.dumps(
        {
            "backup": "backup_a",
            "created_at": 5,
            "store": "store_a",
            "master_key": "d03903da62fd4e88",
            "companies": 1,
            "wrapped_key": base64.b64encode(b"wrapped").decode(),
        }
    )
    assert head == b"OSTRAKB\x01" + struct.pack(">I", len(text)) + text


def test_the_heads_members():
    table = SECTION.partition("The sealed file is one")[0]
    assert named(table) == list(HEADER.__dict__)


def test_the_manifests_members():
    table = SECTION.partition("`manifest.json` has")[2]
    assert named(table) == list(SavedCompany.model_fields)
    for part in (SavedNamespace, SavedShard):
        line = next(line for line in table.splitlines() if set(part.model_fields) <= set(re.findall(r"`(\w+)`", line)))
        assert line.startswith("| `")
    assert f"`format` ({FORMAT};" in SECTION


def test_the_files_in_order():
    table = SECTION.partition("nothing behind them:")[2].partition("The control database MUST")[0]
    files = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert files[0] == MANIFEST_NAME
    assert files[-1] == HASHES_NAME


def test_a_backup_opens_as_the_page_says(control):
    """Without any code of ours but the stream's."""
    remember(records_of(control), "notes", "one")
    backup = back_up(control)
    length = struct.unpack(">I", backup[8:12])[0]
    head = backup[: 12 + length]
    told = orjson.loads(head[12:])
    key = unwrap_backup_key(control.master, told["backup"], base64.b64decode(told["wrapped_key"]))
    where = ("backup", told["backup"], hashlib.sha256(head).hexdigest())
    sealed = backup[len(head) :]
    assert sealed[:16] == b"OSTRAKA\x01\x02\0\0\0\0\0\0\x01"
    plain = b"".join(open_stream([sealed], key=key, key_version=1, purpose=Purpose.BACKUP, where=where))
    assert plain.startswith(b"manifest.json\0")
    assert plain.endswith(bytes(1_024))
