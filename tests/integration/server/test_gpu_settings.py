"""Settings that ask for a GPU, on a host whose processes see none."""

import pytest

from tests.integration.processes import Process
from workers.worker import embeds


@pytest.fixture
def environment(tmp_path):
    return {
        "CUDA_VISIBLE_DEVICES": "",
        "OSTRAKA_EMBEDDINGS__DEVICE": "cuda",
        "OSTRAKA_EMBEDDINGS__PRECISION": "fp32",
        "OSTRAKA_QUEUE__REDIS_URL": f"redis+socket://{tmp_path}/none.sock",
    }


def test_the_api_embeds_queries_without_one_and_a_worker_refuses_to_start(tmp_path, environment):
    api = Process(tmp_path, "api", "--port", "0", environment=environment).spawn()
    worker = Process(tmp_path, "worker", environment=environment).spawn()
    try:
        assert worker.wait() == 2
        said = worker.log.read_text()
        assert "ostraka: [embeddings] device" in said
        assert "Traceback" not in said
        api.event("listening")
        assert api.end() == 0
    finally:
        api.discard()
        worker.discard()


@pytest.mark.parametrize(
    ("queues", "needed"), [(["embed"], True), (["index", "embed-bulk"], True), (["index", "maintain"], False)]
)
def test_a_worker_that_never_embeds_leaves_the_gpu_to_others(queues, needed):
    assert embeds(queues) is needed
