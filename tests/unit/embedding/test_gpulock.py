import signal
import subprocess
import sys

import pytest

from core.embedding.gpulock import hold_gpu
from core.embedding.targets import Target
from core.errors import ConfigurationError

HOLDER = """
import sys, time
from pathlib import Path
from core.embedding.gpulock import hold_gpu
from core.embedding.targets import Target
with hold_gpu(Target("cuda", 0, lock_folder=Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _all_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def target(folder, device_id=0):
    return Target("cuda", device_id, lock_folder=folder)


def test_a_gpu_has_one_process_and_is_free_when_that_dies(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigurationError, match=r"device_id = 0: another Ostraka process .* GPU 0"):
            hold_gpu(target(tmp_path)).__enter__()
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()

    with hold_gpu(target(tmp_path)):
        pass


def test_other_gpus_are_free_meanwhile(tmp_path):
    with hold_gpu(target(tmp_path)), hold_gpu(target(tmp_path, 1)):
        assert len(list(tmp_path.iterdir())) == 2


def test_one_gpu_under_two_numbers_is_one_gpu(tmp_path, monkeypatch):
    with hold_gpu(target(tmp_path, 1)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        with pytest.raises(ConfigurationError, match="GPU 1"):
            hold_gpu(target(tmp_path, 0)).__enter__()


def test_a_lock_that_cannot_be_taken_is_told(tmp_path):
    (tmp_path / "ostraka-gpu-0.lock").mkdir()

    with pytest.raises(ConfigurationError, match=r"ostraka-gpu-0\.lock of GPU 0 cannot be taken"):
        hold_gpu(target(tmp_path)).__enter__()
