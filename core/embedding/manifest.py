"""What a model folder says of itself, and the check that its files are still those that were written."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from core.durability import sync
from core.embedding.catalogue import ModelSpec
from core.errors import ConfigurationError, IntegrityError

Precision = Literal["int8", "fp32", "fp16"]

MANIFEST_FILE: Final = "manifest.json"
TOKENIZER_FILE: Final = "tokenizer.json"
GRAPH_FILES: Final[dict[Precision, str]] = {
    "int8": "model_int8.onnx",
    "fp32": "model.onnx",
    "fp16": "model_fp16.onnx",
}
_FORMAT: Final = 1
_MANIFEST_BYTES_MAX: Final = 64 * 1024  # ours is about 1 kB; anything larger is not ours


@dataclass(frozen=True, slots=True)
class Manifest:
    """A model folder's own description: the spec, where the weights came from, and each file's SHA-256."""

    spec: ModelSpec
    source: str
    files: dict[str, str]

    def graph(self, precision: Precision) -> str:
        """Return the name of the ONNX file for ``precision``.

        Raises ``ConfigurationError`` when the folder holds none.
        """
        name = GRAPH_FILES.get(precision)
        if name is None or name not in self.files:
            held = ", ".join(p for p, file in GRAPH_FILES.items() if file in self.files)
            raise ConfigurationError(
                f"[embeddings] precision = {precision!r}: model {self.spec.name!r} is not here in that "
                f"precision. Choose one of: {held}; or move its folder away and run `ostraka models fetch` or "
                "`ostraka models import`, which make every precision.",
                field="embeddings.precision",
            )
        return name


def write_manifest(folder: Path, spec: ModelSpec, source: str) -> Manifest:
    """Describe the files now in ``folder`` in its ``manifest.json``, with everything fsynced."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != MANIFEST_FILE)
    manifest = Manifest(spec, source, {name: sha256_of(folder / name) for name in names})
    fields = {"format": _FORMAT, "model": asdict(spec), "source": source, "files": manifest.files}
    (folder / MANIFEST_FILE).write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n")
    for name in (*names, MANIFEST_FILE, "."):
        sync(folder / name)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of ``folder``.

    Raises ``ConfigurationError`` when there is none, and ``IntegrityError`` when it is not one of ours.
    """
    path = folder / MANIFEST_FILE
    try:
        with path.open("rb") as file:
            raw = file.read(_MANIFEST_BYTES_MAX)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} is not an Ostraka model folder: {path.name} cannot be read "
            f"({error.strerror}). Move the folder away and run `ostraka models fetch`."
        ) from error
    try:
        return _parse(json.loads(raw))
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"{path} is damaged. {_remedy(folder)}") from error


def verify(folder: Path, manifest: Manifest, *names: str) -> None:
    """Check that the named files of ``folder``, or all it lists, hash to what the manifest says.

    Raises ``IntegrityError`` naming the first file that is missing or changed; it must not be parsed.
    """
    for name in names or manifest.files:
        try:
            same = sha256_of(folder / name) == manifest.files.get(name)
        except OSError as error:
            raise IntegrityError(f"{folder / name} cannot be read: {error.strerror}. {_remedy(folder)}") from error
        if not same:
            raise IntegrityError(f"{folder / name} is not the file that was installed. {_remedy(folder)}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits; raises ``OSError`` where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(fields: Any) -> Manifest:
    if fields["format"] != _FORMAT:
        raise ValueError("unknown manifest format")
    files = {str(name): str(digest) for name, digest in fields["files"].items()}
    if TOKENIZER_FILE not in files or any(Path(name).name != name for name in files):
        raise ValueError("impossible file list")
    return Manifest(ModelSpec(**fields["model"]), str(fields["source"]), files)


def _remedy(folder: Path) -> str:
    return f"Remove the folder {folder} and run `ostraka models fetch` to install the model again."
