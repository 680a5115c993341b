"""The encoders Ostraka knows by name, and everything about each that shapes its vectors."""

from dataclasses import asdict, dataclass
from typing import Final, Literal

from core.errors import ConfigurationError

Pooling = Literal["mean", "cls"]

DEFAULT_MODEL: Final = "all-MiniLM-L6-v2"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One encoder.

    ``max_tokens`` is the window, special tokens and prefix included. ``pooling`` says how token states
    become one vector: their mean, or the state of the first token. The prefixes are put in front of every
    query or passage exactly as written, trailing space included. ``weights_sha256`` is that of
    ``model.safetensors`` where we know it, so that every source hands out the same weights.
    """

    name: str
    repository: str
    revision: str
    dim: int
    max_tokens: int
    pooling: Pooling
    query_prefix: str
    passage_prefix: str
    licence: str
    weights_sha256: str | None = None

    def identity(self) -> dict[str, str | int | None]:
        """Return the fields that decide what a vector is; where it came from and its licence do not."""
        fields = asdict(self)
        for descriptive in ("repository", "licence"):
            del fields[descriptive]
        return fields


_CATALOGUE: Final = (
    ModelSpec(
        name="all-MiniLM-L6-v2",
        repository="sentence-transformers/all-MiniLM-L6-v2",
        revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        dim=384,
        max_tokens=256,
        pooling="mean",
        query_prefix="",
        passage_prefix="",
        licence="Apache-2.0",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    ModelSpec(
        name="bge-small-en-v1.5",
        repository="BAAI/bge-small-en-v1.5",
        revision="5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
        dim=384,
        max_tokens=512,
        pooling="cls",
        query_prefix="Represent this sentence for searching relevant passages: ",
        passage_prefix="",
        licence="MIT",
        weights_sha256="3c9f31665447c8911517620762200d2245a2518d6e7208acc78cd9db317e21ad",
    ),
    ModelSpec(
        name="e5-small-v2",
        repository="intfloat/e5-small-v2",
        revision="ffb93f3bd4047442299a41ebb6fa998a38507c52",
        dim=384,
        max_tokens=512,
        pooling="mean",
        query_prefix="query: ",
        passage_prefix="passage: ",
        licence="MIT",
    ),
)


def model_names() -> tuple[str, ...]:
    """Return the catalogue's names, the default first."""
    return tuple(spec.name for spec in _CATALOGUE)


def lookup(name: str) -> ModelSpec:
    """Return the spec called ``name``.

    Raises ``ConfigurationError`` naming the setting and the remedy when the catalogue has no such model.
    """
    for spec in _CATALOGUE:
        if spec.name == name:
            return spec
    raise ConfigurationError(
        f"[embeddings] model = {name!r} is not in the catalogue. Choose one of {', '.join(model_names())}, "
        "or bring your own encoder with `ostraka models import FOLDER`.",
        field="embeddings.model",
    )
