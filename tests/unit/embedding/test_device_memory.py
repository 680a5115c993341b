"""Too little memory on a device, for real: onnxruntime's own arena, which a GPU has too, bounded on the CPU."""

import json
import subprocess
import sys

import numpy as np
import pytest
from structlog.testing import capture_logs

from core.embedding import batching
from core.embedding.batching import BatchBounds
from core.embedding.runtime import Embedder

BOUNDED = """
import json, sys
from pathlib import Path
import numpy, onnxruntime
from core.embedding import batching
from core.embedding.runtime import Embedder

class Bounded(onnxruntime.SessionOptions):
    def __init__(self):
        super().__init__()
        self.add_session_config_entry("session.use_env_allocators", "1")

arena, default = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
memory = onnxruntime.OrtMemoryInfo("Cpu", arena, 0, default)
bound = onnxruntime.OrtArenaCfg({"max_mem": int(sys.argv[2]), "arena_extend_strategy": 1})
onnxruntime.create_and_register_allocator(memory, bound)
onnxruntime.SessionOptions = Bounded
batching._BOUNDS["cpu"] = batching.BatchBounds(tokens=16_384, rows=1_024)  # a GPU's
embedder = Embedder(Path(sys.argv[1]), precision="fp32", threads=1)
vectors = embedder.embed_passages(json.loads(sys.stdin.read()))
print(json.dumps(numpy.concatenate(vectors).tolist()))
"""
TEXTS = [f"kiln {number}: " + "clay and fire and water " * 20 for number in range(24)]
REFUSED = (
    "Error in execution: Non-zero status code returned while running FusedMatMul node. Status Message: "
    "CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; expr=cudaMalloc((void**)&p, size);"
)


class TightBinding:
    """A binding that notes how much was asked for."""

    def __init__(self, binding):
        self.binding, self.tokens = binding, 0

    def bind_cpu_input(self, name, array):
        self.tokens = array.size
        self.binding.bind_cpu_input(name, array)

    def __getattr__(self, name):
        return getattr(self.binding, name)


class TightSession:
    """onnxruntime's session on a GPU that has room for so many tokens."""

    def __init__(self, session, tokens_max):
        self.session, self.tokens_max, self.refusals = session, tokens_max, 0

    def io_binding(self):
        return TightBinding(self.session.io_binding())

    def run_with_iobinding(self, binding):
        if binding.tokens > self.tokens_max:
            self.refusals += 1
            raise RuntimeError(REFUSED)
        self.session.run_with_iobinding(binding.binding)


@pytest.fixture
def fp32(model_dir):
    opened = Embedder(model_dir, precision="fp32", threads=2)
    yield opened
    opened.close()


@pytest.fixture
def tight(model_dir, monkeypatch):
    """Return a function: an embedder with a GPU's batches on a device with room for so many tokens."""
    monkeypatch.setitem(batching._BOUNDS, "cpu", BatchBounds(tokens=16_384, rows=1_024))
    opened = Embedder(model_dir, precision="fp32", threads=2)

    def make(tokens_max):
        opened._session._session = TightSession(opened._session._session, tokens_max)
        return opened

    yield make
    opened.close()


def test_a_batch_that_the_arena_has_no_room_for_is_run_in_halves(model_dir, fp32):
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(model_dir), "60000000"],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        check=True,
    )
    *halved, vectors = done.stdout.splitlines()

    assert [line.split("rows=")[1] for line in halved] == ["24", "12", "12"]
    np.testing.assert_allclose(json.loads(vectors), np.concatenate(fp32.embed_passages(TEXTS)), atol=2e-6)


def test_halves_come_back_in_order(tight, fp32):
    embedder = tight(400)
    with capture_logs() as logs:
        made = embedder.embed_passages(TEXTS)

    assert {log["event"] for log in logs} == {"batch_halved"}
    np.testing.assert_allclose(np.concatenate(made), np.concatenate(fp32.embed_passages(TEXTS)), atol=2e-6)


def test_a_text_that_does_not_fit_alone_fails_after_few_tries_and_the_others_do_not(tight):
    embedder = tight(50)

    with pytest.raises(MemoryError, match="padded tokens does not fit the device"):
        embedder.embed_passages([*TEXTS, "short"], spread=False)
    assert embedder._session._session.refusals <= 6  # 25 rows, halved until one is left
    assert len(embedder.embed_passages(["short", "and another"])) == 2
