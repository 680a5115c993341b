"""Finding marks in bytes, whatever they were encoded as: any run of twelve bytes of one counts."""

import base64
import hashlib
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator
from urllib.parse import quote

import numpy as np

FRAGMENT_BYTES = 12
_HEAD_BYTES = 8  # of a needle, compared at every offset; the rest of it is compared where they agree
_CHUNK_BYTES = 4 << 20
_TABLE_BITS = 22
_INFLATED_BYTES_MAX = 8 << 20
_COMPRESSED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")


class Needles:
    """The marks in every form that is looked for."""

    def __init__(self) -> None:
        self._needles: dict[int, list[tuple[bytes, str]]] = defaultdict(list)
        self._table = np.zeros(1 << _TABLE_BITS, np.bool_)

    def add_text(self, name: str, text: str) -> None:
        """Look for fragments of a text in every encoding, and for digests of the whole."""
        for fragment in fragments(text):
            for form, needle in encodings(fragment):
                self.add(f"{name}, {form}", needle)
        self.add_digests(name, text.encode())

    def add_digests(self, name: str, whole: bytes) -> None:
        """Look for digests that anybody can make who guesses the text."""
        for algorithm in ("md5", "sha1", "sha256"):
            digest = hashlib.new(algorithm, whole).digest()
            self.add(f"{name}, {algorithm}", digest)
            self.add(f"{name}, {algorithm} in hex", digest.hex().encode())

    def add(self, name: str, needle: bytes) -> None:
        """Look for these bytes."""
        head = int.from_bytes(needle[:_HEAD_BYTES], "little")
        self._needles[head].append((needle, name))
        self._table[head & (len(self._table) - 1)] = True

    def find(self, data: bytes) -> set[str]:
        """Return the names of what is in the data, also in what is compressed there."""
        found = self._direct(data)
        for inflated in _inflate(data):
            found |= {f"{name}, compressed" for name in self._direct(inflated)}
        return found

    def _direct(self, data: bytes) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(data) - _HEAD_BYTES + 1, _CHUNK_BYTES):
            count = min(_CHUNK_BYTES, len(data) - _HEAD_BYTES + 1 - start)
            heads = np.ndarray((count,), "<u8", data, offset=start, strides=(1,))
            for place in np.flatnonzero(self._table[heads & (len(self._table) - 1)]).tolist():
                for needle, name in self._needles.get(int(heads[place]), ()):
                    if data.startswith(needle, start + place):
                        found.add(name)
        return found


def fragments(text: str) -> Iterator[str]:
    """Yield the shortest runs of characters that have twelve bytes or more, one from each character on."""
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            if len(text[start:end].encode()) >= FRAGMENT_BYTES:
                yield text[start:end]
                break


def encodings(fragment: str) -> Iterator[tuple[str, bytes]]:
    """Yield each way in which a fragment could lie somewhere."""
    plain = fragment.encode()
    forms = {
        "as it is": plain,
        "in lower case": fragment.lower().encode(),
        "in upper case": fragment.upper().encode(),
        "backwards": fragment[::-1].encode(),
        "as UTF-16, little end first": fragment.encode("utf-16-le"),
        "as UTF-16, big end first": fragment.encode("utf-16-be"),
        "in hex": plain.hex().encode(),
        "in upper-case hex": plain.hex().upper().encode(),
        "escaped for a URL": quote(fragment, safe="").encode(),
        "escaped for a URL in lower case": quote(fragment, safe="").lower().encode(),
        "escaped as in JSON": fragment.encode("ascii", "backslashreplace").replace(rb"\x", rb"\u00"),
        "escaped byte by byte": repr(plain)[2:-1].encode(),
        **{f"in base64, {shift} bytes on": _base64(plain, shift) for shift in range(3)},
    }
    seen: set[bytes] = set()
    for form, needle in forms.items():
        if needle not in seen:
            seen.add(needle)
            yield form, needle


def _base64(plain: bytes, shift: int) -> bytes:
    """Return the characters that depend on these bytes alone, when they begin ``shift`` bytes into a group of three."""
    whole = base64.b64encode(bytes(shift) + plain)
    begin = -(-8 * shift // 6)
    return whole[begin : 8 * (shift + len(plain)) // 6]


def _inflate(data: bytes) -> Iterator[bytes]:
    for match in _COMPRESSED.finditer(data):
        try:
            inflated = zlib.decompressobj(wbits=47).decompress(data[match.start() :], _INFLATED_BYTES_MAX)
        except zlib.error:
            continue
        if len(inflated) >= FRAGMENT_BYTES:
            yield inflated
