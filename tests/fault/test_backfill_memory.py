"""The memory of a backfill is that of its calls, whatever the size of the file."""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.processes import private_environment

pytestmark = [pytest.mark.fault, pytest.mark.long_run, pytest.mark.timeout(600)]

SPARE_MB = 60  # what an allocator keeps for itself, give or take
MEASURED = (
    "import resource, subprocess, sys; status = subprocess.run(sys.argv[1:]).returncode;"
    "print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)"
)


def peak_mb(path: Path, *flags: str) -> int:
    """Return the largest resident set of a dry run, which reads, judges and cuts everything."""
    command = [sys.executable, "-m", "cli.main", "backfill", str(path), "--namespace", "n", "--dry-run", *flags]
    with tempfile.TemporaryDirectory() as folder:
        environment = private_environment(Path(folder))
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *command], check=False, env=environment, capture_output=True, text=True
        )
    status, size = done.stdout.splitlines()[-1].split()
    assert status == "0", done.stdout + done.stderr
    return int(size)


def write_lines(path: Path, rows: int) -> Path:
    choose = random.Random(1)
    with path.open("w") as file:
        for row in range(rows):
            file.write(json.dumps({"content": f"{row} {choose.random()} " * 10, "session": f"s{row // 20}"}) + "\n")
    return path


def write_vectors(path: Path, rows: int) -> Path:
    """One row group: the worst there is for a reader."""
    vectors = np.random.default_rng(1).standard_normal((rows, 384), np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 384)
    pq.write_table(
        pa.table({"content": [f"note {row}" for row in range(rows)], "vector": column}), path, row_group_size=rows
    )
    return path


def test_a_file_of_lines_five_times_as_large_takes_no_more(tmp_path):
    small = peak_mb(write_lines(tmp_path / "small.jsonl", 40_000))
    assert peak_mb(write_lines(tmp_path / "large.jsonl", 200_000)) < small + SPARE_MB


def test_a_file_of_vectors_five_times_as_large_takes_no_more(tmp_path):
    flags = ("--fingerprint", "f")
    small = peak_mb(write_vectors(tmp_path / "small.parquet", 40_000), *flags)
    assert peak_mb(write_vectors(tmp_path / "large.parquet", 200_000), *flags) < small + SPARE_MB
