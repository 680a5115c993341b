"""Running an encoder: texts in, unit vectors out."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import structlog

from core.embedding.batching import bounds_of, cut_batches
from core.embedding.cpu import available_cores
from core.embedding.fingerprint import fingerprint_of
from core.embedding.manifest import TOKENIZER_FILE, Precision, read_manifest, verify
from core.embedding.pooling import pool
from core.embedding.sessions import EncoderSession
from core.embedding.targets import CPU, Target
from core.embedding.tokens import WindowTokenizer
from core.embedding.workpool import Item, WorkPool
from core.errors import ConfigurationError

log = structlog.get_logger()

Vectors = npt.NDArray[np.float32]

SMALL_CALL_TEXTS: Final = 4  # calls up to this size run on the caller's thread, past any bulk work
_TOKENIZE_TEXTS: Final = 128  # texts one thread tokenises at a time: about 5 ms


class Embedder:
    """One encoder, loaded once and shared by every thread of the process.

    Promise: the same text gives the same vector, whatever it is embedded together with. In int8 that is
    bit for bit: dynamic quantization scales activations over a whole run, so each window gets a run of its
    own. fp32 and fp16 batch windows of similar length, and neighbours move a vector by rounding only (about
    1e-6 and 1e-4 in its coordinates).

    Make it after a fork, never before. ``threads`` defaults to the cores this process may use.
    """

    def __init__(
        self,
        folder: Path,
        *,
        precision: Precision = "int8",
        target: Target = CPU,
        threads: int | None = None,
        load: bool = True,
    ) -> None:
        """Open the model in ``folder``, its files checked against its manifest first.

        With ``load`` false its graph is loaded at the first text: a process that never has one saves the memory.

        Raises ``ConfigurationError`` when the folder, the precision or ``target`` is not to be had, and
        ``IntegrityError`` when a file is not the one that was installed.
        """
        manifest = read_manifest(folder)
        graph = manifest.graph(precision)
        verify(folder, manifest, graph, TOKENIZER_FILE)
        self.spec = manifest.spec
        self.dim = manifest.spec.dim
        self.fingerprint = fingerprint_of(manifest, precision)
        self._precision = precision
        self._bounds = bounds_of(target.device, precision)
        self._tokenizer = WindowTokenizer(folder / TOKENIZER_FILE, max_tokens=self.spec.max_tokens)
        self._open_session = partial(EncoderSession, folder / graph, target)
        if load:
            self._session  # noqa: B018 - what cannot be loaded is refused at the start
        self._pool = WorkPool(threads or available_cores())

    def embed_passages(self, texts: Sequence[str], *, spread: bool = True) -> list[Vectors]:
        """Return for each text a float32 array of shape (windows, dim), rows of length 1, windows >= 1.

        ``spread=False`` uses the calling thread only and leaves the other cores to whoever waits for answers.
        """
        return self._embed(texts, self.spec.passage_prefix, spread=spread)

    def cut_query(self, text: str) -> list[list[int]]:
        """Return the token ids of each window of a query, at least one, for :meth:`embed_windows`."""
        return self._tokenizer.windows([text], prefix=self.spec.query_prefix)[0]

    def embed_windows(self, windows: Sequence[Sequence[int]]) -> Vectors:
        """Return the float32[windows, dim] of one text's windows, rows of length 1. The interpreter is free then."""
        vectors = np.empty((len(windows), self.dim), dtype=np.float32)
        for batch in self._plan(windows):
            vectors[batch] = self._run([windows[index] for index in batch])
        return vectors

    def coverage(self, query: str) -> float:
        """Return the share of a query's characters that the model can read, 0 to 1; fusion weighs by it."""
        return self._tokenizer.coverage(query)

    def close(self) -> None:
        """Let running calls end and free the threads; further large calls raise ``RuntimeError``."""
        self._pool.close()
        if "_session" in vars(self):  # loaded by now
            self._session.close()

    @cached_property
    def _session(self) -> EncoderSession:
        return self._open_session()

    def _embed(self, texts: Sequence[str], prefix: str, *, spread: bool) -> list[Vectors]:
        """Tokenise, run and put back in order; small calls never wait for the threads of large ones."""
        each = self._pool.each if spread and len(texts) > SMALL_CALL_TEXTS else _each_here
        starts = range(0, len(texts), _TOKENIZE_TEXTS)
        cuts: dict[int, list[list[list[int]]]] = {}

        def tokenize(start: int) -> None:
            cuts[start] = self._tokenizer.windows(texts[start : start + _TOKENIZE_TEXTS], prefix=prefix)

        each(starts, tokenize)
        per_text = [windows for start in starts for windows in cuts[start]]
        rows = [window for windows in per_text for window in windows]
        vectors = np.empty((len(rows), self.dim), dtype=np.float32)

        def run(batch: list[int]) -> None:
            vectors[batch] = self._run([rows[index] for index in batch])

        each(self._plan(rows), run)
        ends = np.cumsum([len(windows) for windows in per_text])
        return np.split(vectors, ends[:-1]) if per_text else []

    def _plan(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """Return the batches to run, as indices into ``rows``, dearest first."""
        return cut_batches([len(row) for row in rows], tokens_max=self._bounds.tokens, rows_max=self._bounds.rows)

    def _run(self, rows: Sequence[Sequence[int]]) -> Vectors:
        """Return the vectors of one batch; one that the device has no memory for is run in halves.

        Raises ``MemoryError`` when a single row does not fit.
        """
        try:
            return self._run_whole(rows)
        except MemoryError:
            if len(rows) == 1:
                raise
        log.warning("batch_halved", reason="device_memory", rows=len(rows))
        middle = len(rows) // 2
        return np.concatenate([self._run(rows[:middle]), self._run(rows[middle:])])

    def _run_whole(self, rows: Sequence[Sequence[int]]) -> Vectors:
        """Return the vectors of one batch, padded to its longest row."""
        ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        states = self._session.run(ids, mask)
        try:
            return pool(states, mask, self.spec.pooling)
        except FloatingPointError:
            log.error("states_not_numbers", precision=self._precision)
            raise ConfigurationError(
                f"[embeddings] precision = {self._precision!r}: the model leaves its range on some text; use 'fp32'",
                field="embeddings.precision",
            ) from None


def _each_here(items: Iterable[Item], work: Callable[[Item], None]) -> None:
    for item in items:
        work(item)
