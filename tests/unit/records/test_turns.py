import subprocess
import sys
import threading
from pathlib import Path

import pytest

from core.errors import Unavailable
from core.records.turns import WriteTurns

_HOLDER = """
import sys, time
from pathlib import Path
from core.records.turns import WriteTurns
with WriteTurns(Path(sys.argv[1]), 5).take():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def lock_file(tmp_path: Path) -> Path:
    return tmp_path / "records.turn"


def test_threads_take_turns(lock_file: Path) -> None:
    turns = WriteTurns(lock_file, 5)
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with turns.take():
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    turns.close()
    assert (inside, most) == (0, 1)


def test_another_process_keeps_us_out_until_it_is_killed(lock_file: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(lock_file)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        impatient = WriteTurns(lock_file, 0.05)
        with pytest.raises(Unavailable, match="another process") as caught, impatient.take():
            pass
        assert caught.value.reason == "store_busy"
        holder.kill()
    with impatient.take():
        pass
    impatient.close()


def test_an_error_gives_the_turn_back(lock_file: Path) -> None:
    first, second = WriteTurns(lock_file, 5), WriteTurns(lock_file, 0.05)
    with pytest.raises(RuntimeError), first.take():
        raise RuntimeError
    with second.take():
        pass
    first.close()
    second.close()


def test_closing_twice_closes_nothing_of_anybody_else(lock_file: Path, tmp_path: Path) -> None:
    turns = WriteTurns(lock_file, 5)
    turns.close()
    with (tmp_path / "other").open("w") as other:  # gets the number that is free now
        turns.close()
        other.write("still open")
    assert (tmp_path / "other").read_text() == "still open"
    with pytest.raises(Unavailable, match="closed") as caught, turns.take():
        pass
    assert caught.value.reason == "stopping"
