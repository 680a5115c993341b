import pytest

from core.embedding.batching import BatchBounds, bounds_of
from core.embedding.targets import CPU, Target, gpu_name, provider_of, says_out_of_memory
from core.errors import ConfigurationError


def test_a_cpu_needs_no_options():
    assert provider_of(CPU) == ("CPUExecutionProvider", {})


def test_a_gpu_is_named_bounded_and_kept_exact():
    name, options = provider_of(Target("cuda", device_id=2, memory_bytes_max=2**31))

    assert name == "CUDAExecutionProvider"
    assert options == {
        "device_id": "2",
        "gpu_mem_limit": "2147483648",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
        "enable_skip_layer_norm_strict_mode": "1",
    }


@pytest.mark.parametrize(
    ("device_id", "visible", "name"),
    [(0, None, "0"), (3, None, "3"), (0, "2", "2"), (1, "2, GPU-8c1f", "GPU-8c1f"), (0, "-1,5", "5")],
)
def test_a_gpu_has_one_name_on_its_host(device_id, visible, name):
    assert gpu_name(device_id, visible) == name


@pytest.mark.parametrize(("device_id", "visible"), [(0, ""), (0, "-1"), (2, "0,1")])
def test_a_gpu_that_the_process_does_not_see_is_refused(device_id, visible):
    with pytest.raises(ConfigurationError, match=r"\[embeddings\] device_id.*CUDA_VISIBLE_DEVICES"):
        gpu_name(device_id, visible)


@pytest.mark.parametrize(
    "message",
    [
        "bfc_arena.cc:376 AllocateRawInternal(size_t) Failed to allocate memory for requested buffer of size 9",
        "bfc_arena.cc:360 Available memory of 30841600 is smaller than requested bytes of 201326592",
        "CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; expr=cudaMalloc((void**)&p, size);",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=h",
        "CUDNN failure 4003: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0",
    ],
)
def test_want_of_memory_is_recognised(message):
    assert says_out_of_memory(message)


@pytest.mark.parametrize(
    "message", ["INVALID_ARGUMENT : Got invalid dimensions for input", "CUDA failure 700: an illegal memory access", ""]
)
def test_other_faults_are_not_taken_for_it(message):
    assert not says_out_of_memory(message)


def test_int8_runs_alone_and_a_gpu_gets_larger_batches():
    assert bounds_of("cpu", "int8").rows == 1
    assert bounds_of("cpu", "fp16") == bounds_of("cpu", "fp32") == BatchBounds(tokens=512, rows=256)
    assert bounds_of("cuda", "fp16").tokens > bounds_of("cpu", "fp16").tokens
