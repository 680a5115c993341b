"""Text to terms: the same pure functions for indexing and for querying.

Three kinds of runs are recognised after normalisation:

- *words*: letters, digits and their combining marks. Stemming is the index's work (``core.shards.postings``).
- *compounds*: words joined without a space, such as ``us-east-1``, ``user@example.com``, ``1.2.3``. Indexed
  as their parts, in order, behind one term for the whole, so that both ``east`` and the exact token find
  them. Hyphens vary in prose (IL-6, IL6, IL 6), so a hyphenated whole is written without them.
- *unspaced runs*: Han, kana, hangul, Thai and their like, as overlapping pairs of characters (as in Lucene's
  CJKAnalyzer). The last character also stands alone, so that every character begins some term and a
  query of one character can be answered by prefix.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from core.text.stopwords import STOP_WORDS

ANALYZER_VERSION: Final = 1  # raised with every change that alters terms; shards carry it

TERM_CHARS_MAX: Final = 100  # longer runs are blobs; both sides cut alike, so an exact query still matches
QUERY_TERMS_MAX: Final = 512  # distinct clauses of one query; a question has ten, a pasted page hundreds
LITERAL_MARK: Final = "="  # ends a whole compound: no word contains it, and no stemmer changes such a term

# Scripts written without spaces, plus hangul, whose particles stick to the noun.
_UNSPACED: Final = (
    r"\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    r"\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # kana
    r"\u1100-\u11ff\u3131-\u318e\uac00-\ud7af"  # hangul
    r"\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ecd\u1000-\u103f\u1780-\u17d3"  # Thai, Lao, Burmese, Khmer
)
_UNSPACED_ONE: Final = re.compile(f"[{_UNSPACED}]")
_MARKS: Final = "".join(
    chr(code)
    for code in range(0x300, 0x10000)
    if unicodedata.category(chr(code)) in {"Mn", "Mc"} and not _UNSPACED_ONE.match(chr(code))
)  # \w knows no combining marks, and without them Hindi or Arabic words fall apart
_WORD: Final = rf"(?:[^\W_{_UNSPACED}]++[{_MARKS}]*+)++"
_RUN: Final = re.compile(
    rf"(?P<unspaced>[{_UNSPACED}]++)"
    rf"|{_WORD}(?:(?:://|::|__|[-._/\\:@+]){_WORD})*+(?:(?:\+\+|\#)(?!\w))?"  # the tail: c++, c#
)
_JOINT: Final = re.compile(r"[-._/\\:@+#]+")
_EXACT_JOINT: Final = re.compile(r"[_@\\:+]")  # joints that prose does not use
_GROUPED_DIGITS: Final = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")  # 1,000 is 1000
_LATIN_ACCENTS: Final = re.compile(r"(?<=[a-z\u03b1-\u03c9])[\u0300-\u036f]+")  # on Latin and Greek letters only
_VARIANTS: Final = {
    **dict.fromkeys((0x2010, 0x2011, 0x2212), "-"),  # hyphens and the minus sign
    **dict.fromkeys((0xAD, *range(0x200B, 0x2010), 0x2060, 0xFEFF)),  # invisible, between letters
}


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing a query asks for: any of ``alternatives``, the exact one first; it counts ``weight`` times.

    Each alternative is a sequence of terms that must stand next to each other, mostly just one.
    With ``prefix`` it is one character, and every term that begins with it matches.
    """

    alternatives: tuple[tuple[str, ...], ...]
    weight: int = 1
    prefix: bool = False


def normalise(text: str) -> str:
    """Return ``text`` with the differences removed that no reader means: width, case, accents, invisibles."""
    if text.isascii():
        return _GROUPED_DIGITS.sub("", text.lower())
    text = unicodedata.normalize("NFKC", text.translate(_VARIANTS)).casefold()
    text = _LATIN_ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return _GROUPED_DIGITS.sub("", unicodedata.normalize("NFKC", text))


def index_terms(text: str) -> list[str]:
    """Return the terms of a memory's text, in order; none contains white space or exceeds the term limit."""
    terms: list[str] = []
    for match in _RUN.finditer(normalise(text)):
        run = match.group()
        if match["unspaced"]:
            terms += _pairs(run)
            if len(run) > 1:
                terms.append(run[-1])
        elif _JOINT.search(run) is None:
            terms.append(run[:TERM_CHARS_MAX])
        else:
            terms += [_whole(run), *_parts(run)]
    return terms


def query_clauses(text: str) -> list[Clause]:
    """Return what a query asks for, in order of first mention, at most ``QUERY_TERMS_MAX`` clauses.

    Stop words are left out unless nothing else was said. A repeated term weighs by its count, as in BM25.
    An identifier (a compound with a number of its own, or with a joint that prose does not use) is asked
    for as a whole or as its parts side by side, never by a part alone: ``us-east-1`` must not find
    ``us-east-2``. Other compounds add their parts.
    """
    counts: Counter[Clause] = Counter()
    for match in _RUN.finditer(normalise(text)):
        run = match.group()
        if match["unspaced"]:
            counts.update(Clause(((pair,),), prefix=len(run) == 1) for pair in _pairs(run))
        elif _JOINT.search(run) is None:
            counts[_single(run[:TERM_CHARS_MAX])] += 1
        else:
            counts.update(_compound_clauses(run))
    meant = {clause: count for clause, count in counts.items() if not _is_stop_word(clause)} or counts
    return [
        Clause(clause.alternatives, weight=count, prefix=clause.prefix)
        for clause, count in list(meant.items())[:QUERY_TERMS_MAX]
    ]


def _compound_clauses(run: str) -> list[Clause]:
    whole, parts = _whole(run), _parts(run)
    if len(parts) > 1 and (_EXACT_JOINT.search(run) or any(part.isdecimal() for part in parts)):
        return [Clause(((whole,), tuple(parts)))]
    return [_single(whole), *map(_single, parts)]


def _single(term: str) -> Clause:
    return Clause(((term,),))


def _is_stop_word(clause: Clause) -> bool:
    return clause.alternatives[0][0] in STOP_WORDS


def _pairs(run: str) -> list[str]:
    return [run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)]


def _parts(run: str) -> list[str]:
    return [part[:TERM_CHARS_MAX] for part in _JOINT.split(run) if part]


def _whole(run: str) -> str:
    parts = _JOINT.split(run)
    hyphens_only = len(parts) == run.count("-") + 1
    numbers_meet = any(a[-1:].isdecimal() and b[:1].isdecimal() for a, b in pairwise(parts))
    if hyphens_only and not numbers_meet:  # 1-23 and 12-3 must stay apart
        return "".join(parts)[:TERM_CHARS_MAX]
    return run[: TERM_CHARS_MAX - 1] + LITERAL_MARK
