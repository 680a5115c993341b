import itertools
import struct
from pathlib import Path

import pytest

from core.crypto.sealedfile import HEADER_BYTES, Purpose, authenticate, file_key_version, open_to_file, seal_stream
from core.errors import IntegrityError, WrongKey

KEY = bytes(range(32))
WHERE = ("co_a", "ns_a", "sh_a")
CHUNK = 16_384  # bytes of plaintext in one chunk of the stream
TAG = 16  # bytes of authentication behind each chunk
GRID = sorted({0, 1, *(max(0, edge + step) for edge in (CHUNK, 2 * CHUNK, 3 * CHUNK, 1 << 20) for step in (-1, 0, 1))})


def sealed(plaintext: bytes, key_version: int = 1) -> bytes:
    return b"".join(seal_stream([plaintext], key=KEY, key_version=key_version, purpose=Purpose.SHARD, where=WHERE))


def opened(file: bytes, target: Path, *, key: bytes = KEY, version: int = 1, where: tuple[str, ...] = WHERE) -> int:
    return open_to_file([file], target, key=key, key_version=version, purpose=Purpose.SHARD, where=where)


def checked(file: bytes, *, key: bytes = KEY, version: int = 1, where: tuple[str, ...] = WHERE) -> None:
    authenticate([file], key=key, key_version=version, purpose=Purpose.SHARD, where=where)


def refused(file: bytes, target: Path, error: type[IntegrityError] = IntegrityError, **changed: object) -> None:
    """No byte may reach a parser: the target is what a parser would read. Checking alone says the same."""
    for read in (lambda: opened(file, target, **changed), lambda: checked(file, **changed)):
        with pytest.raises(IntegrityError) as raised:
            read()
        assert type(raised.value) is error
        assert not target.exists()


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "opened.tar"


@pytest.mark.parametrize("size", GRID)
def test_every_size_around_a_chunk_comes_back(target, size):
    plaintext = bytes(itertools.islice(itertools.cycle(range(251)), size))
    checked(sealed(plaintext))
    assert opened(sealed(plaintext), target) == size
    assert target.read_bytes() == plaintext


@pytest.mark.parametrize("piece", [1, 7, HEADER_BYTES, CHUNK - 1, CHUNK, CHUNK + 1, 10**6])
def test_the_pieces_it_comes_in_do_not_matter(target, piece):
    plaintext = bytes(range(256)) * 140
    pieces = [plaintext[start : start + piece] for start in range(0, len(plaintext), piece)]
    file = b"".join(seal_stream(pieces, key=KEY, key_version=1, purpose=Purpose.SHARD, where=WHERE))
    assert len(file) == len(sealed(plaintext))
    sent = (file[start : start + piece] for start in range(0, len(file), piece))
    open_to_file(sent, target, key=KEY, key_version=1, purpose=Purpose.SHARD, where=WHERE)
    assert target.read_bytes() == plaintext


def test_every_flipped_byte_of_a_small_file_is_refused(target):
    file = sealed(b"postings, vectors, graph" * 4)
    for position in range(len(file)):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(file)
            changed[position] ^= flip
            key_version = range(HEADER_BYTES - 4, HEADER_BYTES)
            refused(bytes(changed), target, WrongKey if position in key_version else IntegrityError)


@pytest.mark.parametrize(("size", "stride"), [(CHUNK + 3, 1), (3 * CHUNK, 61)])
def test_a_flipped_byte_in_any_chunk_is_refused(target, size, stride):
    file = sealed(bytes(size))
    for position in range(HEADER_BYTES, len(file), stride):
        changed = bytearray(file)
        changed[position] ^= 0x10
        refused(bytes(changed), target)


def test_every_truncation_is_refused(target):
    file = sealed(bytes(CHUNK + 3))
    for length in range(len(file)):
        refused(file[:length], target)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_anything_appended_is_refused(target, size):
    file = sealed(bytes(size))
    for extra in (b"\0", b"\xff", bytes(16), bytes(CHUNK), bytes(CHUNK + 16), file[HEADER_BYTES:], file):
        refused(file + extra, target)


def test_chunks_cannot_be_dropped_doubled_or_swapped(target):
    file = sealed(b"".join(bytes([fill]) * CHUNK for fill in range(4)))
    start, whole = len(sealed(b"")) - TAG, CHUNK + TAG
    chunks = [file[at : at + whole] for at in range(start, len(file), whole)]
    assert b"".join([file[:start], *chunks]) == file
    for order in itertools.chain.from_iterable(itertools.product(range(5), repeat=length) for length in (3, 4, 5)):
        if order != (0, 1, 2, 3, 4):
            refused(file[:start] + b"".join(chunks[each] for each in order), target)


@pytest.mark.parametrize(
    "where",
    [
        ("co_b", "ns_a", "sh_a"),
        ("co_a", "ns_b", "sh_a"),
        ("co_a", "ns_a", "sh_b"),
        ("co_a", "ns_a"),
        ("co_a", "ns_a", "sh_a", ""),
        ("co_ans_a", "", "sh_a"),
    ],
)
def test_a_file_opens_only_in_its_place(target, where):
    refused(sealed(b"ours"), target, where=where)


def test_another_key_is_refused(target):
    refused(sealed(b"ours"), target, key=bytes(32))


def test_another_key_version_is_named_as_such(target):
    refused(sealed(b"ours", key_version=2), target, WrongKey, version=1)
    assert file_key_version(sealed(b"", key_version=2**32 - 1), Purpose.SHARD) == 2**32 - 1


def test_a_relabelled_key_version_does_not_open(target):
    file = sealed(b"ours", key_version=1)
    relabelled = file[: HEADER_BYTES - 4] + struct.pack(">I", 2) + file[HEADER_BYTES:]
    refused(relabelled, target, version=2)


@pytest.mark.parametrize("file", [b"", b"OSTRAKA", bytes(HEADER_BYTES), b"PK\x03\x04" * 20, b"\x1f\x8b" + bytes(80)])
def test_foreign_bytes_are_refused(target, file):
    refused(file, target)


def test_an_unfinished_source_leaves_nothing(target):
    file = sealed(bytes(CHUNK * 2))

    def broken():
        yield file[:CHUNK]
        raise ConnectionError("the store went away")

    with pytest.raises(ConnectionError):
        open_to_file(broken(), target, key=KEY, key_version=1, purpose=Purpose.SHARD, where=WHERE)
    assert not target.exists()


def test_a_file_that_was_there_is_left_alone(target):
    target.write_bytes(b"somebody else's")
    with pytest.raises(FileExistsError):
        opened(sealed(b"ours"), target)
    assert target.read_bytes() == b"somebody else's"


def test_the_header_is_what_the_format_says():
    file = sealed(b"", key_version=258)
    assert file[:HEADER_BYTES] == b"OSTRAKA\x01" + bytes([Purpose.SHARD, 0, 0, 0]) + b"\0\0\1\2"


def test_a_golden_file_still_opens(target):
    assert opened(bytes.fromhex(GOLDEN), target) == 23
    assert target.read_bytes() == b"what we know about this"


# Sealed by version 1 of the format, kept for ever: a shard written then must open now.
GOLDEN = (
    "4f535452414b41010100000000000001c70a6a83256cd0e47aab6b8e2509aed434422c4bd68d82d7a6c8edf3c54df441fabe"
    "5c4f7f64bf760fa289d3d17509eea2ca7ddda14e571058dcb9f30ad0a6808abdf5e19428b2821a449761433cb48de0086f54"
    "5da2c0fce6887b048ca4fa"
)
