import numpy as np
import onnxruntime
import pytest

from core.embedding.manifest import GRAPH_FILES
from core.embedding.runtime import Embedder
from core.embedding.sessions import EncoderSession
from core.embedding.targets import CPU, Target
from core.errors import ConfigurationError

CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@pytest.mark.parametrize("precision", ["int8", "fp32", "fp16"])
def test_bound_buffers_hold_what_a_plain_run_returns_bit_for_bit(half_model_dir, precision):
    session = EncoderSession(half_model_dir / GRAPH_FILES[precision], CPU)
    ids = np.random.default_rng(7).integers(1_000, 20_000, (3, 40))
    mask = np.ones_like(ids)
    mask[1, 20:] = 0

    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    plain = session._session.run(None, feed)[0]
    bound = session.run(ids, mask)

    assert bound.dtype == (np.float16 if precision == "fp16" else np.float32)
    assert bound.shape == (3, 40, 384)
    assert bound.tobytes() == plain.tobytes()
    session.close()


@pytest.mark.skipif(CUDA, reason="this onnxruntime is built for GPUs")
def test_a_missing_gpu_is_refused_not_replaced(model_dir, tmp_path):
    with pytest.raises(ConfigurationError, match=r"device = 'cuda'.*extra `gpu`.*device = 'cpu'"):
        Embedder(model_dir, precision="fp32", target=Target("cuda", lock_folder=tmp_path))

    with pytest.raises(ConfigurationError, match="cannot run"):  # and not: another process has it
        Embedder(model_dir, precision="fp32", target=Target("cuda", lock_folder=tmp_path))


def test_other_faults_of_a_run_keep_their_name(model_dir):
    session = EncoderSession(model_dir / GRAPH_FILES["fp32"], CPU)
    beyond = np.full((1, 4), 10**6)

    with pytest.raises(RuntimeError, match="indices"):
        session.run(beyond, np.ones_like(beyond))
    session.close()
