"""Several processes of a host share one cache; the last one wipes it, also after a crash."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.shards.cache import ShardCache

MEMORY = Path("/dev/shm")
ANOTHER = """
import sys, time
from pathlib import Path
from core.shards.cache import ShardCache

cache = ShardCache(Path(sys.argv[1]), Path(sys.argv[2]), 2**30)
folder = Path(sys.argv[3])

def fill(target):
    with (folder / "fills").open("a") as log:
        log.write("x")
    (target / "file").write_bytes(b"from another process")

with cache.workspace() as workspace:
    print("joined", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["open", shard]:
                print((cache.open(shard, fill) / "file").read_text(), flush=True)
            case ["work", name]:
                (workspace / name).write_text("half-made")
                print("written", flush=True)
cache.close()
"""


class Another:
    """A second process of this host, driven line by line."""

    def __init__(self, base: Path, data: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ANOTHER, str(base), str(data), str(data)],
            env={"PYTHONPATH": str(Path(__file__).parents[3])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "joined\n"

    def say(self, line: str) -> str:
        self.send(line)
        return self.process.stdout.readline().strip()

    def send(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def leave(self) -> None:
        self.process.communicate()
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def another(base, data) -> Iterator[Callable[[], Another]]:
    started = []

    def start() -> Another:
        started.append(Another(base, data))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def filler(size: int = 100) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / "file").write_bytes(bytes(size))

    return fill


def never(folder: Path) -> None:
    raise AssertionError(f"{folder} was filled again")


def test_two_processes_share_one_copy(join, another):
    cache, other = join(), another()
    assert other.say("open sh_a") == "from another process"
    assert (cache.open("sh_a", never) / "file").read_bytes() == b"from another process"


def test_processes_that_ask_at_once_fill_once(another, data):
    others = [another() for _ in range(3)]
    for round_ in range(5):
        for other in others:
            other.send(f"open sh_{round_}")
        assert {other.process.stdout.readline() for other in others} == {"from another process\n"}
    assert (data / "fills").read_text() == "x" * 5


def test_only_the_last_one_out_wipes(join, another):
    cache, other = join(), another()
    folder = cache.open("sh_a", filler())
    other.leave()
    assert folder.exists()
    cache.close()
    assert not cache.root.exists()


def test_the_one_that_stays_keeps_its_shards(join, another):
    cache, other = join(), another()
    folder = cache.open("sh_a", filler())
    cache.close()
    assert folder.exists()
    other.leave()
    assert not cache.root.exists()


def test_what_a_killed_process_left_is_wiped_by_the_next_start(join, another, base):
    other = another()
    other.say("open sh_a")
    other.say("work half")
    other.kill()
    assert [path for path in base.rglob("half") if path.is_file()]
    cache = join()
    assert [path for path in base.rglob("*") if path.is_file() and path.suffix not in {".lock", ".alive"}] == []
    assert (cache.open("sh_a", filler()) / "file").stat().st_size == 100


def test_what_a_killed_process_left_is_wiped_by_the_last_one_out(join, another, base):
    cache, other = join(), another()
    other.say("work half")
    other.kill()
    cache.close()
    assert [path for path in base.rglob("half") if path.is_file()] == []


def test_a_lock_of_a_killed_filler_does_not_block(join, another):
    other = another()
    cache = join()
    other.say("open sh_a")
    other.kill()
    cache.drop("sh_a")
    assert (cache.open("sh_a", filler()) / "file").stat().st_size == 100


def test_closing_twice_is_no_error(join):
    cache = join()
    cache.close()
    cache.close()


def test_stores_on_one_host_do_not_share(base, tmp_path):
    with ShardCache(base, tmp_path / "one", 2**20) as one, ShardCache(base, tmp_path / "two", 2**20) as two:
        one.open("sh_a", filler(1))
        assert (two.open("sh_a", filler(2)) / "file").stat().st_size == 2


def test_a_killed_member_s_work_is_cleared_by_the_next_while_others_live(join, another, base):
    join()
    dead, living = another(), another()
    dead.say("work half")
    living.say("work other")
    dead.kill()
    join()
    assert [path for path in base.rglob("half") if path.is_file()] == []
    assert [path for path in base.rglob("other") if path.is_file()]
