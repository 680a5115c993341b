"""A worker that is told to stop while it imports, at a place where Python ignores what a handler raises."""

import os
import signal
import sys
import weakref
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from cli.main import main

LATE = "celery.apps.worker"  # imported when the worker hears signals already


class Interrupting:
    """Looks for modules and finds none; before a late one it sends SIGTERM, from a callback as importlib has them."""

    def find_spec(self, name, _path=None, _target=None):
        if name == LATE:
            sys.meta_path.remove(self)
            watched = {1}.union()
            keep = weakref.ref(watched, lambda _: os.kill(os.getpid(), signal.SIGTERM))
            del watched
            assert keep() is None


if __name__ == "__main__":
    sys.meta_path.insert(0, Interrupting())
    main()
