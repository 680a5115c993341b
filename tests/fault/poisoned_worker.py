"""A worker whose model dies of one text, as a crash inside a native library would have it, and refuses another."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from cli.main import main
from core.embedding.runtime import Embedder

DEADLY = "deadly"
REFUSED = "unreadable"


def poison() -> None:
    """Wrap the real model."""
    embed = Embedder.embed_passages

    def embed_or_die(embedder, texts, **how):
        if any(DEADLY in text for text in texts):
            os.kill(os.getpid(), signal.SIGKILL)
        if any(REFUSED in text for text in texts):
            raise ValueError
        return embed(embedder, texts, **how)

    Embedder.embed_passages = embed_or_die


if __name__ == "__main__":
    poison()
    main()
