"""Texts to windows of token ids: prefixes, special tokens and the cut of long texts."""

import os
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from core.embedding.windows import OVERLAP_TOKENS, cut_windows

if TYPE_CHECKING:
    from tokenizers import Encoding


class WindowTokenizer:
    """A model's tokenizer that never truncates and never pads.

    Special tokens written out in a text (``[SEP]``) are read as plain characters: whoever writes a memory
    does not get to steer the model with them. Safe to call from several threads.
    """

    def __init__(self, path: Path, *, max_tokens: int) -> None:
        # One thread a call, since callers already run one per core; its own threads would also not
        # survive a fork, about which the library warns.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer  # noqa: PLC0415 - 7 MB that only a process that embeds pays

        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()  # files come with the cut of whoever saved them
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        self._max_tokens = max_tokens
        self._unknown = self._tokenizer.token_to_id("[UNK]")
        frame = self._tokenizer.encode("a")
        marks = frame.special_tokens_mask
        self._head = frame.ids[: _leading(marks)]
        self._tail = frame.ids[len(frame.ids) - _leading(marks[::-1]) :]

    def windows(self, texts: Sequence[str], *, prefix: str) -> list[list[list[int]]]:
        """Return for each text, ``prefix`` put in front, its windows of token ids: at least one each.

        Each window has the special tokens and the prefix, and at most ``max_tokens`` tokens.
        """
        encodings = self._tokenizer.encode_batch([_encodable(prefix + text) for text in texts])
        return [self._cut(encoding, prefix) for encoding in encodings]

    def coverage(self, text: str) -> float:
        """Return the share of the characters of ``text`` that the vocabulary can represent, 1.0 for no tokens.

        What falls outside becomes the one unknown token, about which a vector can say nothing.
        """
        encoding = self._tokenizer.encode(_encodable(text), add_special_tokens=False)
        lengths = [end - start for start, end in encoding.offsets]
        known = sum(length for length, id_ in zip(lengths, encoding.ids, strict=True) if id_ != self._unknown)
        return known / sum(lengths) if sum(lengths) else 1.0

    def _cut(self, encoding: "Encoding", prefix: str) -> list[list[int]]:
        ids = encoding.ids
        if len(ids) <= self._max_tokens:
            return [ids]
        body_start = len(self._head) + _prefix_tokens(encoding, len(self._head), len(prefix))
        return cut_windows(
            ids[body_start : len(ids) - len(self._tail)],
            head=ids[:body_start],
            tail=self._tail,
            max_tokens=self._max_tokens,
            overlap=OVERLAP_TOKENS,
        )


def _leading(marks: Sequence[int]) -> int:
    """Return how many leading marks are set."""
    return len(list(takewhile(bool, marks)))


def _prefix_tokens(encoding: "Encoding", start: int, prefix_chars: int) -> int:
    """Return how many tokens from ``start`` on stem from the first ``prefix_chars`` characters."""
    spans = encoding.offsets[start : start + prefix_chars] if prefix_chars else []
    return len(list(takewhile(lambda span: span[1] <= prefix_chars, spans)))


def _encodable(text: str) -> str:
    """Return ``text`` with lone surrogates replaced: UTF-8 has no place for them."""
    return text.encode("utf-8", "replace").decode("utf-8")
