"""The raw embedding limit: the server's own embedder with nothing around it, in a process of its own.

``python -m benchmarks.raw_embedding`` reads a JSON list of texts from standard input and prints the seconds.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from benchmarks.server import child_environment
from core.embedding.opening import open_embedder
from core.settings import load_settings

_WARM_UP_TEXTS: Final = 256
_LIMIT_S: Final = 1_800


def raw_rate(texts: Sequence[str], folder: Path) -> float:
    """Return the texts a second of a fresh process with the default settings."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.raw_embedding"],
        input=orjson.dumps(list(texts)),
        stdout=subprocess.PIPE,
        cwd=folder,
        env=child_environment(),
        check=True,
        timeout=_LIMIT_S,
    )
    return len(texts) / float(done.stdout)


def main() -> None:
    """Embed what comes in; loading the model and the first texts are not counted."""
    texts = orjson.loads(sys.stdin.buffer.read())
    embedder = open_embedder(load_settings(), "cpu")
    embedder.embed_passages(texts[:_WARM_UP_TEXTS])
    started = time.perf_counter()
    embedder.embed_passages(texts)
    print(time.perf_counter() - started)
    embedder.close()


if __name__ == "__main__":
    main()
