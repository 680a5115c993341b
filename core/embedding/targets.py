"""Where a model runs, and what onnxruntime is told about that place: decisions only, nothing is loaded here."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from core.errors import ConfigurationError

Device = Literal["cpu", "cuda"]

_OUT_OF_MEMORY: Final = re.compile(
    r"Failed to allocate memory|Available memory of \d+ is smaller"  # its arena's own words
    r"|out of memory|(?:CUBLAS|CUDNN)_STATUS\w*_ALLOC(?:ATION)?_FAILED",  # and those of CUDA's libraries
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Target:
    """A place to run a model.

    ``device_id`` counts the GPUs that this process sees. ``memory_bytes_max`` bounds what onnxruntime takes of the
    GPU for weights and batches; CUDA's own libraries need some hundred MB beside it. ``lock_folder`` is a folder that
    all processes of the host share: whoever uses a GPU holds a lock there.
    """

    device: Device = "cpu"
    device_id: int = 0
    memory_bytes_max: int = 4 * 2**30
    lock_folder: Path = Path("/dev/shm")  # noqa: S108 - an empty file, to be locked


CPU: Final = Target()


def provider_of(target: Target) -> tuple[str, dict[str, str]]:
    """Return the name of onnxruntime's provider for ``target``, and its options."""
    if target.device == "cpu":
        return "CPUExecutionProvider", {}
    return "CUDAExecutionProvider", {
        "device_id": str(target.device_id),
        "gpu_mem_limit": str(target.memory_bytes_max),
        "arena_extend_strategy": "kSameAsRequested",  # doubling would meet the bound at half of it
        "use_tf32": "0",  # it keeps 10 bits of fp32's 23: queries are embedded on CPUs, in true fp32
        "enable_skip_layer_norm_strict_mode": "1",  # sums in fp32 where the rest is fp16
    }


def gpu_name(device_id: int, visible: str | None) -> str:
    """Return what the host calls the GPU that this process sees as ``device_id``.

    ``visible`` is ``CUDA_VISIBLE_DEVICES``: indices or UUIDs, or ``None`` where all are seen. Raises
    ``ConfigurationError`` when it names no GPU of that number.
    """
    if visible is None:
        return str(device_id)
    names = [name.strip() for name in visible.split(",") if name.strip() not in {"", "-1"}]
    if device_id >= len(names):
        raise ConfigurationError(
            f"[embeddings] device_id = {device_id}: CUDA_VISIBLE_DEVICES shows {len(names)} GPUs to this process, and "
            "they are counted from 0; correct the setting or the variable",
            field="embeddings.device_id",
        )
    return names[device_id]


def says_out_of_memory(message: str) -> bool:
    """Say whether an error of onnxruntime means that the device has too little memory for what was asked of it."""
    return _OUT_OF_MEMORY.search(message) is not None
