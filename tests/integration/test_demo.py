"""``ostraka demo`` as a user runs it: five answers, and nothing left behind, whatever happens."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cli.demo import QUESTIONS, conversation
from core.memory import NewMemory
from tests.integration.processes import eventually, private_environment, running

ANSWERS = [  # what a reader would answer, in the words of the conversation
    "Prawns and crab bring me out in hives",
    "the pharmacy has it under order number RX-7730-1942",
    "The ferry is booked for the night of the 17th",
    "They quoted 4,180 pounds",
    "Tunde Adeyemi",
]


@pytest.fixture(autouse=True)
def _hear_interrupts() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C, with all of its children: so may these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: a socket's path is bounded, and pytest's names are long."""
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        (Path(name) / "temporary").mkdir()
        yield Path(name)


def start(folder: Path) -> "subprocess.Popen[str]":
    """Start the demo with temporary files and configuration in a folder of the test's own, on a wide screen."""
    environment = private_environment(folder) | {"TMPDIR": str(folder / "temporary"), "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", "demo"],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def leftovers(folder: Path, before: set[str]) -> list[str]:
    return [
        *map(str, (folder / "temporary").iterdir()),
        *map(str, folder.glob("config/**/*")),
        *({path.name for path in Path("/dev/shm").glob("ostraka-demo-*")} - before),
    ]


@pytest.fixture
def shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").glob("ostraka-demo-*")}


def test_the_demo_answers_five_questions_and_leaves_nothing(folder: Path, shared_memory: set[str]):
    with start(folder) as demo:
        output, errors = demo.communicate(timeout=150)
    assert demo.returncode == 0, errors
    parts = re.split(r"│ [1-5]\. ", output)
    assert len(parts) == 6
    for part, question, answer in zip(parts[1:], QUESTIONS, ANSWERS, strict=True):
        assert part.startswith(question.text)
        assert answer in part
        assert re.search(r"\d\.\d\d │", part), "a score"
        assert re.search(r"\d+\.\d │", part), "milliseconds"
    assert "found nowhere" in output
    assert leftovers(folder, shared_memory) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_nothing(folder: Path, shared_memory: set[str], number: int):
    with start(folder) as demo:
        family = eventually(lambda: psutil.Process(demo.pid).children(recursive=True))
        time.sleep(0.5)
        family = {*family, *psutil.Process(demo.pid).children(recursive=True)}
        os.kill(demo.pid, number)
        demo.communicate(timeout=90)
    assert demo.returncode != 0
    assert [child for child in family if child.is_running()] == []
    assert leftovers(folder, shared_memory) == []


def words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it ended between being listed and being asked
        return []


def test_a_demo_that_is_killed_leaves_no_process(folder: Path, shared_memory: set[str]):
    with start(folder) as demo:
        eventually(lambda: any("worker" in words(child) for child in psutil.Process(demo.pid).children(recursive=True)))
        family = psutil.Process(demo.pid).children(recursive=True)
        demo.kill()
        demo.communicate(timeout=90)
    psutil.wait_procs(family, 60)
    for path in Path("/dev/shm").glob("ostraka-demo-*"):  # nobody was left to remove it
        if path.name not in shared_memory:
            shutil.rmtree(path)
    assert [child for child in family if running(child)] == []


def test_the_conversation_is_valid_and_of_our_making():
    memories = [NewMemory.model_validate_json(json.dumps(memory)) for memory in conversation()]
    assert len(memories) == len({memory.id for memory in memories}) == 61
    assert len({memory.session for memory in memories}) == 5
    assert all(memory.occurred_at for memory in memories)
