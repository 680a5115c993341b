"""The configured model: opened where texts are embedded, named alone where they are not."""

from pathlib import Path

from core.embedding.importing import find_spec
from core.embedding.models import default_models_dir, ensure_model
from core.embedding.runtime import Embedder
from core.embedding.sanity import check_device
from core.embedding.targets import CPU, Device, Target
from core.settings import Settings


def open_embedder(settings: Settings, device: Device) -> Embedder:
    """Open the configured model on ``device``, obtaining it first if need be.

    A GPU must first give the vectors of the CPU, where queries are embedded: drivers, libraries and fp16 are more than
    our tests can vouch for. Raises ``ConfigurationError`` and ``IntegrityError``.
    """
    embeddings, folder, target = settings.embeddings, _folder(settings), CPU
    if device == "cuda":
        target = Target("cuda", embeddings.device_id, embeddings.gpu_memory_bytes_max, settings.cache.path)
    embedder = Embedder(folder, precision=embeddings.precision, target=target, threads=embeddings.threads or None)
    if target is not CPU:
        try:
            check_device(embedder, folder, embeddings.precision)
        except BaseException:
            embedder.close()
            raise
    return embedder


def name_embedder(settings: Settings) -> Embedder:
    """Return the configured model for its name and shape: its graph is loaded, on the CPU, only if a text should come.

    Raises ``ConfigurationError``.
    """
    embeddings = settings.embeddings
    return Embedder(_folder(settings), precision=embeddings.precision, threads=embeddings.threads or None, load=False)


def _folder(settings: Settings) -> Path:
    models = default_models_dir()
    return ensure_model(find_spec(settings.embeddings.model, models), models)
