import tarfile
from io import BytesIO

import pytest

from core.backup.archive import END, ArchiveReader, Entry, entry_bytes, write_entry
from core.errors import IntegrityError

SHARD_NAME = f"co_{'a' * 32}/ns_{'b' * 32}/sh_{'c' * 32}.shard"
FILES = {"manifest.json": b"{}", "control.db": bytes(512), f"co_{'a' * 32}/records.db": b"x" * 5_000, SHARD_NAME: b""}


def archive(files: dict[str, bytes] = FILES) -> bytes:
    return b"".join(b"".join(write_entry(Entry(name, len(data)), [data])) for name, data in files.items()) + END


def read(data: bytes, pieces: int = 700) -> dict[str, bytes]:
    reader = ArchiveReader(data[start : start + pieces] for start in range(0, len(data), pieces))
    found = {}
    for _ in FILES:
        entry = reader.next()
        found[entry.name] = b"".join(reader.take(entry))
    reader.end()
    return found


@pytest.mark.parametrize("pieces", [1, 511, 512, 513, 100_000])
def test_the_pieces_it_comes_in_do_not_matter(pieces):
    assert read(archive(), pieces) == FILES


def test_it_is_a_tar_as_anybody_reads_it():
    with tarfile.open(fileobj=BytesIO(archive())) as tar:
        assert {member.name: tar.extractfile(member).read() for member in tar.getmembers()} == FILES


def test_its_size_is_known_before():
    for name, data in FILES.items():
        assert len(b"".join(write_entry(Entry(name, len(data)), [data]))) == entry_bytes(Entry(name, len(data)))


def test_a_file_beyond_eight_gibibytes_can_be_named():
    large = Entry("co_a/records.db", 9 * 2**30)
    header = next(write_entry(large, []))
    assert ArchiveReader([header]).next() == large


def test_a_file_that_is_not_as_long_as_it_was_is_refused():
    for data in (b"", b"12345"):
        with pytest.raises(IntegrityError):
            list(write_entry(Entry("control.db", 4), [data]))


@pytest.mark.parametrize("length", [0, 100, 512, 700, 1_023, 2_000, -1, -512, -1_024])
def test_an_archive_that_ends_too_soon_is_refused(length):
    with pytest.raises(IntegrityError):
        read(archive()[:length])


def test_anything_behind_its_end_is_refused():
    with pytest.raises(IntegrityError):
        read(archive() + b"\0")


def test_a_link_is_refused():
    info = tarfile.TarInfo("control.db")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(IntegrityError):
        ArchiveReader([info.tobuf()]).next()
