"""A worker whose model never comes back from one text, as a hung device would have it."""

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from cli.main import main
from core.embedding.runtime import Embedder

ENDLESS = "endless"


def hang() -> None:
    """Wrap the real model."""
    embed = Embedder.embed_passages

    def embed_or_hang(embedder, texts, **how):
        if any(ENDLESS in text for text in texts):
            threading.Event().wait()
        return embed(embedder, texts, **how)

    Embedder.embed_passages = embed_or_hang


if __name__ == "__main__":
    hang()
    main()
