"""Bringing one's own encoder: a local sentence-transformers folder becomes a model like any other."""

import json
import re
import shutil
from pathlib import Path
from typing import Any, Final

from core.embedding.catalogue import ModelSpec, Pooling, lookup, model_names
from core.embedding.environment import Progress, export_environment
from core.embedding.manifest import MANIFEST_FILE, TOKENIZER_FILE, read_manifest, sha256_of, write_manifest
from core.embedding.models import EXPORT_ENVIRONMENT, install_once
from core.embedding.sources import WEIGHTS_FILE
from core.errors import ConfigurationError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PARTS: Final = {"Transformer", "Pooling", "Normalize"}  # what this runtime does after the encoder
_MAX_TOKENS: Final = 512  # the window where the folder names none; what BERT-like encoders take


def find_spec(name: str, models_dir: Path) -> ModelSpec:
    """Return the spec of a catalogue model or of an imported one in ``models_dir``.

    Raises ``ConfigurationError`` naming the setting and the remedy when ``name`` is neither.
    """
    known = name not in model_names() and _NAME.fullmatch(name)
    if known and (models_dir / name / MANIFEST_FILE).is_file():
        return read_manifest(models_dir / name).spec
    return lookup(name)


def import_model(
    folder: Path,
    models_dir: Path,
    *,
    name: str | None = None,
    licence: str = "unknown",
    progress: Progress = lambda message: None,  # noqa: ARG005
) -> Path:
    """Export the sentence-transformers ``folder`` and install it below ``models_dir``; return its folder.

    ``name`` defaults to the folder's own. Pooling, window and prompts are read from the folder. Raises
    ``ConfigurationError`` when the folder is not an encoder this runtime can reproduce exactly.
    """
    spec = _read_spec(folder, name or folder.resolve().name, licence)
    if (models_dir / spec.name).exists():
        raise ConfigurationError(f"{models_dir / spec.name} exists. Remove it or import under another name.")

    def build(partial: Path) -> None:
        with export_environment(models_dir / EXPORT_ENVIRONMENT, progress) as environment:
            progress("Installing the export packages (torch: some minutes, once; removed afterwards)")
            environment.install()
            progress("Exporting to ONNX and quantizing")
            environment.convert(folder.resolve(), partial)
            shutil.copyfile(folder / TOKENIZER_FILE, partial / TOKENIZER_FILE)
            write_manifest(partial, spec, "import")

    return install_once(models_dir / spec.name, spec, build, progress)


def _read_spec(folder: Path, name: str, licence: str) -> ModelSpec:
    """Describe a sentence-transformers folder; the weights' hash serves as its revision."""
    if not _NAME.fullmatch(name) or name in model_names():
        raise ConfigurationError(f"{name!r} cannot name an imported model: use letters, digits, . _ - only.")
    for needed in ("config.json", TOKENIZER_FILE, WEIGHTS_FILE):
        if not (folder / needed).is_file():
            raise ConfigurationError(
                f"{folder} has no {needed}: give a sentence-transformers folder with safetensors weights."
            )
    config = _read_json(folder / "config.json")
    prompts = _read_json(folder / "config_sentence_transformers.json").get("prompts", {})
    weights = sha256_of(folder / WEIGHTS_FILE)
    limit = int(config.get("max_position_embeddings", _MAX_TOKENS))
    try:
        return ModelSpec(
            name=name,
            repository="",
            revision=weights[:40],
            dim=int(config["hidden_size"]),
            max_tokens=int(_read_json(folder / "sentence_bert_config.json").get("max_seq_length") or limit),
            pooling=_read_pooling(folder),
            query_prefix=str(prompts.get("query", "")),
            passage_prefix=str(prompts.get("passage", prompts.get("document", ""))),
            licence=licence,
            weights_sha256=weights,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{folder} is not a sentence-transformers folder: {error!r}.") from error


def _read_pooling(folder: Path) -> Pooling:
    """Return how ``folder`` pools; raises ``ConfigurationError`` for what would come out different here."""
    modules: Any = _read_json(folder / "modules.json")
    extra = {str(module["type"]).rpartition(".")[2] for module in modules} - _PARTS
    settings = _read_json(folder / "1_Pooling" / "config.json")
    modes = {key for key, on in settings.items() if key.startswith("pooling_mode_") and on}
    if not extra and modes == {"pooling_mode_mean_tokens"}:
        return "mean"
    if not extra and modes == {"pooling_mode_cls_token"}:
        return "cls"
    raise ConfigurationError(
        f"{folder} cannot be reproduced: mean or first-token pooling is supported, it has "
        f"{', '.join(sorted(extra | modes)) or 'no pooling'}."
    )


def _read_json(path: Path) -> dict[str, Any]:
    """Return the JSON of ``path``, empty where there is no such file."""
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
    return content
