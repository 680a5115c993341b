"""The machine and the versions that a run was made on."""

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil

from benchmarks.server import ROOT
from core.embedding.cpu import available_cores

_PACKAGES: Final = (
    "ostraka-server",
    "celery",
    "cryptography",
    "fastapi",
    "hnswlib",
    "numba",
    "numpy",
    "onnxruntime",
    "pyarrow",
    "redis",
    "SQLAlchemy",
    "tantivy",
    "tokenizers",
    "uvicorn",
    "uvloop",
)
_FSYNCS: Final = 50


def describe_machine(work: Path) -> Mapping[str, Any]:
    """Return what the figures depend on: processor, cores, memory, disk and how long a commit to it takes."""
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "file_system": _file_system(work),
        "fsync_ms": fsync_ms(work),
        "load_average": os.getloadavg()[0],
    }


def describe_versions() -> Mapping[str, str]:
    """Return the versions of what does the work, and the commit where there is one."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {**found, "commit": _commit()}


def fsync_ms(folder: Path) -> float:
    """Return the median milliseconds of a small append and its fsync: the floor of a durable write here."""
    path = folder / "fsync-probe"
    took = []
    with path.open("wb", buffering=0) as probe:
        for _ in range(_FSYNCS):
            started = time.perf_counter()
            probe.write(b"\0" * 4_096)
            os.fsync(probe.fileno())
            took.append((time.perf_counter() - started) * 1e3)
    path.unlink()
    return median(took)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _file_system(folder: Path) -> str:
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    resolved = folder.resolve()
    return next((mounts[path] for path in (resolved, *resolved.parents) if path in mounts), "unknown")


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.decode().strip()
