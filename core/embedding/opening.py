"""The configured model: opened where texts are embedded, named alone where they are not."""

from core.embedding.importing import find_spec
from core.embedding.models import default_models_dir, ensure_model
from core.embedding.runtime import Embedder
from core.settings import Settings


def open_embedder(settings: Settings) -> Embedder:
    """Open the configured model, obtaining it first if need be. Raises ``ConfigurationError``."""
    return _embedder(settings, load=True)


def name_embedder(settings: Settings) -> Embedder:
    """Return the configured model for its name and shape: its graph is loaded only if a text should come.

    Raises ``ConfigurationError``.
    """
    return _embedder(settings, load=False)


def _embedder(settings: Settings, *, load: bool) -> Embedder:
    embeddings = settings.embeddings
    models = default_models_dir()
    folder = ensure_model(find_spec(embeddings.model, models), models)
    return Embedder(
        folder,
        precision=embeddings.precision,
        device=embeddings.device,
        threads=embeddings.threads or None,
        load=load,
    )
