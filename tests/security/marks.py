"""Marked strings: each says where it was planted, and appears nowhere unless somebody wrote it there."""

import random
import string

LENGTH = 24
_LATIN = string.ascii_letters + string.digits
# Two and three bytes in UTF-8, with and without a case: what escapes, folds and encodes in other ways than ASCII.
_OTHER = "äöüÄÖÜéÉñÑжЖшШяЯδΔλΛ東京大阪記憶都市"


class Marks:
    """Makes marks and remembers what each was planted as."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.planted: dict[str, str] = {}

    def plant(self, place: str) -> str:
        """Return a new mark in letters and digits, one word to every parser."""
        return self._made(place, _LATIN)

    def plant_other(self, place: str) -> str:
        """Return a new mark beyond ASCII."""
        return self._made(f"{place}, not ASCII", _OTHER)

    def _made(self, place: str, alphabet: str) -> str:
        assert place not in self.planted, place
        mark = "".join(self._rng.choices(alphabet, k=LENGTH))
        self.planted[place] = mark
        return mark
