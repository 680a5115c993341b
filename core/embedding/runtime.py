"""Running an encoder: texts in, unit vectors out. The only module that touches onnxruntime."""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from core.embedding.batching import cut_batches
from core.embedding.cpu import available_cores
from core.embedding.fingerprint import fingerprint_of
from core.embedding.manifest import TOKENIZER_FILE, Precision, read_manifest, verify
from core.embedding.pooling import pool
from core.embedding.tokens import WindowTokenizer
from core.embedding.workpool import Item, WorkPool
from core.errors import ConfigurationError

Device = Literal["cpu", "cuda"]
Vectors = npt.NDArray[np.float32]

SMALL_CALL_TEXTS: Final = 4  # calls up to this size run on the caller's thread, past any bulk work
_TOKENIZE_TEXTS: Final = 128  # texts one thread tokenises at a time: about 5 ms
_BATCH_ROWS_MAX: Final = 256
_BATCH_TOKENS: Final[dict[Device, int]] = {
    "cpu": 512,
    "cuda": 16_384,
}  # padded; CPU: the fastest of those measured; GPU: a guess
_PROVIDERS: Final[dict[Device, str]] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_LOG_ERRORS: Final = 3  # onnxruntime's severity: its warnings tell an operator nothing to act on


class Embedder:
    """One encoder, loaded once and shared by every thread of the process.

    Promise: the same text gives the same vector, whatever it is embedded together with. In int8 that is
    bit for bit: dynamic quantization scales activations over a whole run, so each window gets a run of its
    own. fp32 batches windows of similar length, and neighbours move a vector by rounding only (about 1e-6).

    Make it after a fork, never before. ``threads`` defaults to the cores this process may use.
    """

    def __init__(
        self,
        folder: Path,
        *,
        precision: Precision = "int8",
        device: Device = "cpu",
        threads: int | None = None,
        load: bool = True,
    ) -> None:
        """Open the model in ``folder``, its files checked against its manifest first.

        With ``load`` false its graph is loaded at the first text: a process that never has one saves the memory.

        Raises ``ConfigurationError`` when the folder, the precision or the device is not to be had, and
        ``IntegrityError`` when a file is not the one that was installed.
        """
        manifest = read_manifest(folder)
        graph = manifest.graph(precision)
        verify(folder, manifest, graph, TOKENIZER_FILE)
        self.spec = manifest.spec
        self.dim = manifest.spec.dim
        self.fingerprint = fingerprint_of(manifest, precision)
        self._alone = precision == "int8"
        self._batch_tokens = _BATCH_TOKENS[device]
        self._tokenizer = WindowTokenizer(folder / TOKENIZER_FILE, max_tokens=self.spec.max_tokens)
        self._open_session = partial(_open_session, folder / graph, precision, device)
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

    @cached_property
    def _session(self) -> Any:
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
        return cut_batches(
            [len(row) for row in rows],
            tokens_max=self._batch_tokens,
            rows_max=1 if self._alone else _BATCH_ROWS_MAX,
        )

    def _run(self, rows: Sequence[Sequence[int]]) -> Vectors:
        """Return the vectors of one batch, padded to its longest row."""
        ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        offered = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feed = {port.name: offered[port.name] for port in self._session.get_inputs()}
        output = self._session.get_outputs()[0].name
        return pool(self._session.run([output], feed)[0], mask, self.spec.pooling)


def _each_here(items: Iterable[Item], work: Callable[[Item], None]) -> None:
    for item in items:
        work(item)


def _open_session(path: Path, precision: Precision, device: Device) -> Any:
    """Return an onnxruntime session on exactly ``device``, never on another in its stead."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, at the import: after it, a first event is already out
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - 20 MB that only embedding pays

    onnxruntime.disable_telemetry_events()
    if device == "cuda" and precision == "int8":
        raise ConfigurationError(
            "[embeddings] precision = 'int8' runs on the CPU only. Set precision = 'fp32' for the GPU, or "
            "device = 'cpu'.",
            field="embeddings.precision",
        )
    provider = _PROVIDERS[device]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # callers bring the threads
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False  # a plan per text length would pile up, and shapes hardly repeat
    options.log_severity_level = _LOG_ERRORS
    session = None
    if provider in onnxruntime.get_available_providers():
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    if session is None or session.get_providers()[0] != provider:
        raise ConfigurationError(
            f"[embeddings] device = {device!r}: this installation cannot run on it. Install "
            "onnxruntime-gpu in place of onnxruntime, with the CUDA and cuDNN libraries it asks for, or "
            "set device = 'cpu'.",
            field="embeddings.device",
        )
    return session
