"""One process for each GPU: two would take each other's memory, and neither would be faster."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from core.embedding.targets import Target, gpu_name
from core.errors import ConfigurationError


@contextmanager
def hold_gpu(target: Target) -> Iterator[None]:
    """Hold the GPU of ``target`` on this host; the kernel lets go of it when the process dies.

    Raises ``ConfigurationError`` when another process has it, or the lock cannot be taken.
    """
    name = gpu_name(target.device_id, os.environ.get("CUDA_VISIBLE_DEVICES"))
    path = target.lock_folder / f"ostraka-gpu-{re.sub(r'[^A-Za-z0-9-]', '-', name)}.lock"
    lock = FileLock(path, timeout=0, thread_local=False)  # opened and closed by different threads
    try:
        lock.acquire()
    except Timeout:
        raise ConfigurationError(
            f"[embeddings] device_id = {target.device_id}: another Ostraka process of this host runs on GPU {name}; "
            "stop it, or give this one another GPU",
            field="embeddings.device_id",
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"[embeddings] device_id = {target.device_id}: the lock {path} of GPU {name} cannot be taken "
            f"({error.strerror}); another user's process may hold it: stop that one, or remove a file it left",
            field="embeddings.device_id",
        ) from None
    try:
        yield
    finally:
        lock.release()
