"""docs/FORMAT.md is normative: its vectors are those of the code, and the golden files open for ever."""

import base64
import re
import struct
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from docpages import ROOT, read, rows_named, table_rows

from core.crypto.envelope import OVERHEAD_BYTES, Sealer, address, derive
from core.crypto.keys import CompanyKey, MasterKey, NamespaceKey
from core.crypto.sealedfile import HEADER_BYTES, Purpose, open_to_file, seal_stream
from core.errors import IntegrityError, WrongKey
from core.memory import NewMemory, Stored
from core.search.filters import parse_filter
from core.shards.archive import unpack
from core.shards.builder import FORMAT_VERSION, Manifest
from core.shards.postings_view import TextView
from core.shards.reader import OpenShard

PAGE = "docs/FORMAT.md"
GOLDEN = ROOT / "tests/golden"
MASTER = MasterKey(bytes(range(32)))
COMPANY = CompanyKey("co_a", 1, bytes(range(64)))
NAMESPACE = NamespaceKey("co_a", "ns_b", 1, bytes(range(64)))
FINGERPRINT = "golden:int8:0000000000000000"


def golden(name: str) -> bytes:
    return base64.b64decode((GOLDEN / name).read_text())


def test_addresses():
    rows = {cells[0]: cells[1].strip("`") for cells in table_rows(read(PAGE)) if len(cells) == 2}
    assert rows["`row co_a ns_b memories 7 content`"] == address("row", "co_a", "ns_b", "memories", 7, "content").hex()
    assert rows["`Ä` and an empty part"] == address("Ä", "").hex()


def test_labels():
    vectors = [cells for cells in table_rows(read(PAGE)) if cells[0].startswith("`ostraka/")]
    derived = {cells[0].strip("`"): cells[1].strip("`") for cells in vectors if len(cells) == 2}
    sources = "".join((ROOT / path).read_text() for path in ("core/crypto/keys.py",))
    assert set(derived) == set(re.findall(r'"(ostraka/\S+?)"', sources))
    assert {label: derive(bytes(range(32)), label).hex() for label in derived} == derived
    assert MASTER.key_id == derived["ostraka/master/id/v1"][:16]


def test_handles():
    found = [cells for cells in table_rows(read(PAGE)) if len(cells) == 3 and re.fullmatch(r"`[0-9a-f]{64}`", cells[2])]
    owners = {"company": MASTER, "namespace": COMPANY, "memory": NAMESPACE, "session": NAMESPACE}
    assert {cells[0].strip("`") for cells in found} == set(owners)
    for kind, name, handle in ([cell.strip("`") for cell in cells] for cells in found):
        assert owners[kind].handle(kind, name).hex() == handle


def test_an_envelopes_layout():
    envelope = Sealer(bytes(32), 7).seal(b"text", b"where")
    assert OVERHEAD_BYTES == 33
    assert len(envelope) == len(b"text") + 33
    assert envelope[:5] == b"\x01" + struct.pack(">I", 7)


@pytest.mark.parametrize(("size", "expected"), [(0, 88), (16_383, 16_471), (16_384, 16_488)])
def test_a_files_size(size, expected):
    pieces = seal_stream([bytes(size)], key=bytes(32), key_version=1, purpose=Purpose.SHARD, where=("co", "ns", "sh"))
    file = b"".join(pieces)
    assert len(file) == expected == HEADER_BYTES + 56 + size + 16 * (size // 16_384 + 1)
    assert file[:16] == b"OSTRAKA\x01\x01\0\0\0\0\0\0\x01"
    assert f"| {size:,} | {expected:,} |" in read(PAGE)


def test_a_contents_members():
    stored = Stored.of(NewMemory(content="x"), "mem_1")
    section = read(PAGE).partition("## 5.")[2].partition("**Vectors**")[0]
    assert set(re.findall(r"^\| `(\w+)` ", section, re.MULTILINE)) == set(Stored.model_fields)
    assert Stored.from_bytes(stored.to_bytes()) == stored


def test_a_manifests_members():
    section = read(PAGE).partition("`shard.json`:")[2].partition("`attributes.arrow`, in row order")[0]
    named = [
        name for cell in re.findall(r"^\| (.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    ]
    assert named == [field.name for field in fields(Manifest)]
    assert rows_named(read(PAGE), "format")["format"][0].startswith(f"{FORMAT_VERSION};")


def test_the_golden_value_opens():
    sealed = golden("value_v1.b64")
    assert NAMESPACE.open_row(sealed, "memories", 7, "content") == b'{"text":"written in 2026"}'
    with pytest.raises(IntegrityError):
        NAMESPACE.open_row(sealed, "memories", 8, "content")


@pytest.fixture
def golden_shard(tmp_path) -> Path:
    archive, folder = tmp_path / "shard.tar", tmp_path / "shard"
    where = ("co_a", "ns_b", "sh_golden")
    sealed = golden("shard_v2.b64")
    with pytest.raises(WrongKey):
        open_to_file([sealed], archive, key=NAMESPACE.file_key, key_version=2, purpose=Purpose.SHARD, where=where)
    open_to_file([sealed], archive, key=NAMESPACE.file_key, key_version=1, purpose=Purpose.SHARD, where=where)
    unpack(archive, folder)
    return folder


def test_the_golden_shard_has_the_members_of_the_page(golden_shard):
    names = {path.relative_to(golden_shard).as_posix() for path in golden_shard.rglob("*") if path.is_file()}
    section = read(PAGE).partition("## 7.")[2]
    for name in names:
        assert f"`{name}`" in section or name.startswith("text/")
    arrays = {path.stem: np.load(path) for path in golden_shard.glob("*.npy")}
    shapes = {name: (array.dtype.str, array.ndim) for name, array in arrays.items()}
    assert shapes["ids"] == ("<i8", 1)
    assert shapes["sessions"] == ("<u8", 1)
    assert shapes["session-order"] == ("<u4", 1)
    assert shapes["owners"] == ("<u4", 1)
    assert shapes["vectors"] == ("<f4", 2)
    assert {shape[0] for name, shape in shapes.items() if name.startswith("graph-")} == {"<u4"}


def test_the_golden_shard_answers(golden_shard, tmp_path):
    shard = OpenShard("sh_golden", golden_shard, FINGERPRINT)
    assert (shard.rows, shard.manifest.vectors, shard.manifest.graph) == (3, 4, True)
    ids, scores = shard.nearest(np.eye(4, dtype=np.float32)[1:2], depth=3, ef=16, mask=None)
    assert (ids[0], scores[0]) == (2, 1.0)
    mask = parse_filter({"customer.plan": "pro"}).mask(shard.attributes)
    assert mask.tolist() == [True, False, False]
    view = TextView.open(tmp_path / "view", [shard.text_folder])
    try:
        assert view.search("us-east-1", 3)[0].tolist() == [3]
    finally:
        view.close()


def test_another_models_shard_is_refused(golden_shard):
    with pytest.raises(IntegrityError):
        OpenShard("sh_golden", golden_shard, "another:int8:0000000000000000")
