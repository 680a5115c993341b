"""A worker whose index builder dies of one text, as a crash inside a native library would have it."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from cli.main import main
from core.pipeline import building

DEADLY = "deadly"


def poison() -> None:
    """Wrap the real builder."""
    build = building.build_shard

    def build_or_die(folder, rows, *more):
        if any(DEADLY in row.text for row in rows):
            os.kill(os.getpid(), signal.SIGKILL)
        return build(folder, rows, *more)

    building.build_shard = build_or_die


if __name__ == "__main__":
    poison()
    main()
