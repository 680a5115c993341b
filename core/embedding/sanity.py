"""A freshly made model must embed known sentences as the published one does, or it is refused."""

import json
from pathlib import Path
from typing import Final

import numpy as np

from core.embedding.catalogue import ModelSpec
from core.embedding.manifest import GRAPH_FILES, Manifest, Precision
from core.embedding.runtime import Embedder, Vectors
from core.errors import IntegrityError

GOLDEN_FILE: Final = Path(__file__).parent / "golden.json"
_COSINE_MIN: Final[dict[Precision, float]] = {"fp32": 0.999, "int8": 0.97, "fp16": 0.999}
DEVICE_COSINE_MIN: Final = 0.999  # a GPU's vectors against the CPU's, of the same graph
_LONG: Final = 4  # times all sentences: long enough to be padded against, short enough for one window


def check_model(folder: Path, manifest: Manifest) -> None:
    """Embed the golden sentences in every precision ``folder`` holds and compare.

    A catalogue model with golden vectors is compared with those, made by the published weights under
    torch; any other with its own fp32, which still catches a quantization that went wrong. Raises
    ``IntegrityError`` naming the precision and the cosine.
    """
    sentences, reference = _golden(manifest.spec)
    held: list[Precision] = [p for p in ("fp32", "int8", "fp16") if GRAPH_FILES[p] in manifest.files]
    for precision in held:
        made = _embed(folder, precision, sentences)
        if reference is None:
            reference = made
        cosine = float((made * reference).sum(axis=1).min()) if made.shape == reference.shape else 0.0
        if not cosine >= _COSINE_MIN[precision]:  # also refuses NaN
            raise IntegrityError(
                f"The {precision} export of {manifest.spec.name} is wrong: cosine {cosine:.4f} to the known "
                f"vectors, {_COSINE_MIN[precision]} needed. Nothing was installed; run it again, and report "
                "it if it stays."
            )


def check_device(embedder: Embedder, folder: Path, precision: Precision) -> None:
    """Compare what ``embedder`` computes on its device with what the same graph gives on the CPU.

    The sentences go in one batch, short beside long, so that padding takes part. Raises ``IntegrityError`` naming the
    cosine.
    """
    sentences, _ = _golden(embedder.spec)
    texts = [*sentences, " ".join(sentences * _LONG)]
    made = np.concatenate(embedder.embed_passages(texts, spread=False))
    cosine = float((made * _embed(folder, precision, texts)).sum(axis=1).min())
    if not cosine >= DEVICE_COSINE_MIN:
        raise IntegrityError(
            f"[embeddings] device: it gives other vectors than the CPU for {embedder.spec.name} in {precision} (cosine "
            f"{cosine:.4f}, {DEVICE_COSINE_MIN} needed); set precision = 'fp32', update the driver, or use the CPU"
        )


def _embed(folder: Path, precision: Precision, sentences: list[str]) -> Vectors:
    embedder = Embedder(folder, precision=precision, threads=1)
    try:
        return np.concatenate(embedder.embed_passages(sentences))
    finally:
        embedder.close()


def _golden(spec: ModelSpec) -> tuple[list[str], Vectors | None]:
    golden = json.loads(GOLDEN_FILE.read_text("utf-8"))
    vectors = golden["vectors"].get(f"{spec.name}@{spec.revision}")
    return golden["sentences"], None if vectors is None else np.asarray(vectors, dtype=np.float32)
