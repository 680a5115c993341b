import contextlib
import io
import tarfile

import pytest

from core.crypto.sealedfile import CHUNK_BYTES
from core.errors import IntegrityError
from core.shards.archive import pack, read_chunks, unpack

FILES = {"shard.json": b"{}", "vectors.npy": bytes(range(256)) * 400, "empty": b"", "text/meta.json": b"[]"}


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "shard"
    for name, content in FILES.items():
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return made


def test_what_is_packed_is_unpacked(folder, tmp_path):
    pack(folder, tmp_path / "archive.tar")
    out = tmp_path / "out"
    out.mkdir()
    unpack(tmp_path / "archive.tar", out)
    assert {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()} == FILES


def test_an_archive_says_nothing_of_its_host(folder, tmp_path):
    pack(folder, tmp_path / "archive.tar")
    with tarfile.open(tmp_path / "archive.tar") as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == sorted(FILES)
    assert {(each.uid, each.gid, each.uname, each.gname, each.mtime) for each in members} == {(0, 0, "", "", 0)}


def test_the_same_files_make_the_same_archive(folder, tmp_path):
    for name in ("one.tar", "two.tar"):
        pack(folder, tmp_path / name)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


@pytest.mark.parametrize("content", [b"", b"not a tar", bytes(300), b"x" * 5_000])
def test_what_is_no_tar_is_refused(tmp_path, content):
    (tmp_path / "archive.tar").write_bytes(content)
    with pytest.raises(IntegrityError):
        unpack(tmp_path / "archive.tar", tmp_path)


def test_a_tar_cut_inside_a_file_is_refused(folder, tmp_path):
    pack(folder, tmp_path / "archive.tar")
    whole = (tmp_path / "archive.tar").read_bytes()
    (tmp_path / "archive.tar").write_bytes(whole[:9_000])
    with pytest.raises(IntegrityError):
        unpack(tmp_path / "archive.tar", tmp_path / "out")


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    with tarfile.open(tmp_path / "archive.tar", "w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    with contextlib.suppress(IntegrityError):
        unpack(tmp_path / "archive.tar", inner)
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "a" / "outside").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_no_link_leads_out_of_the_folder(tmp_path, kind):
    with tarfile.open(tmp_path / "archive.tar", "w") as tar:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "../../outside"
        tar.addfile(member)
    (tmp_path / "out").mkdir()
    with pytest.raises(IntegrityError):
        unpack(tmp_path / "archive.tar", tmp_path / "out")


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_a_file_is_read_in_pieces(tmp_path, size):
    (tmp_path / "file").write_bytes(bytes(size))
    pieces = list(read_chunks(tmp_path / "file"))
    assert sum(map(len, pieces)) == size
    assert all(0 < len(piece) <= CHUNK_BYTES for piece in pieces)
