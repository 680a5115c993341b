"""Whatever is done to a sealed file, no byte of its plaintext is left for a parser to read."""

import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.crypto.sealedfile import Purpose, open_to_file, seal_stream
from core.errors import IntegrityError, WrongKey

CHUNK = 16_384
KEY = bytes(range(32))
sizes = st.integers(0, 300) | st.builds(
    lambda chunk, step: max(0, chunk * CHUNK + step), st.integers(0, 4), st.integers(-2, 2)
)
names = st.text(max_size=8)
places = st.tuples(names, names, names)


def seal(plaintext: bytes, where: tuple[str, ...] = ("co", "ns", "sh"), version: int = 1) -> bytes:
    stream = seal_stream([plaintext], key=KEY, key_version=version, purpose=Purpose.SHARD, where=where)
    return b"".join(stream)


def unseal(pieces: list[bytes], where: tuple[str, ...] = ("co", "ns", "sh"), version: int = 1) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "opened"
        try:
            size = open_to_file(pieces, target, key=KEY, key_version=version, purpose=Purpose.SHARD, where=where)
        except BaseException:
            assert not target.exists()
            raise
        assert target.stat().st_size == size
        return target.read_bytes()


@given(sizes, st.integers(0, 255), st.lists(st.integers(0, 70_000), max_size=6))
def test_any_size_in_any_pieces_comes_back(size, fill, cuts):
    file = seal(bytes([fill]) * size)
    edges = [0, *sorted(min(cut, len(file)) for cut in cuts), len(file)]
    pieces = [file[start:stop] for start, stop in itertools.pairwise(edges)]
    assert unseal(pieces) == bytes([fill]) * size


@given(sizes, st.data())
def test_no_edit_opens(size, data):
    file = seal(bytes(size))
    start = data.draw(st.integers(0, len(file)))
    stop = data.draw(st.sampled_from([start, len(file)]) | st.integers(start, len(file)))
    edited = file[:start] + data.draw(st.binary(max_size=40)) + file[stop:]
    assume(edited != file)
    with pytest.raises(IntegrityError):
        unseal([edited])


@given(sizes, sizes, st.data())
def test_two_files_cannot_be_spliced(one_size, two_size, data):
    one, two = seal(b"\1" * one_size), seal(b"\2" * two_size)
    cut = data.draw(st.integers(32, min(len(one), len(two)) - 1))  # 16 bytes of header are the same, 16 of salt are not
    with pytest.raises(IntegrityError):
        unseal([one[:cut] + two[cut:]])


@given(places, places, st.integers(1, 9), st.integers(1, 9))
def test_a_file_opens_only_in_its_place_and_key_version(here, there, version, named):
    file = seal(b"ours", here, version)
    assume((here, version) != (there, named))
    with pytest.raises(IntegrityError) as refused:
        unseal([file], there, named)
    assert isinstance(refused.value, WrongKey) == (version != named)


@given(st.binary(max_size=400))
def test_noise_never_opens(noise):
    with pytest.raises(IntegrityError):
        unseal([noise])
    with pytest.raises(IntegrityError):
        unseal([seal(b"")[:16] + noise])
