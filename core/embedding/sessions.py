"""A loaded graph on a CPU or a GPU. The only module that touches onnxruntime."""

import os
import sys
import threading
from contextlib import ExitStack, nullcontext, redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from core.embedding.gpulock import hold_gpu
from core.embedding.targets import Target, provider_of, says_out_of_memory
from core.errors import ConfigurationError

TokenIds = npt.NDArray[np.int64]

_LOG_ERRORS: Final = 3  # onnxruntime's severity: its warnings tell an operator nothing to act on


class EncoderSession:
    """One graph on one device, for any number of threads; a GPU runs one batch at a time and belongs to us alone.

    Inputs and outputs are bound to the device's own buffers, on CPUs as on GPUs: what the states cost to move is one
    copy, and the path that a GPU takes is the one that every machine takes.
    """

    def __init__(self, path: Path, target: Target) -> None:
        """Load the graph. Raises ``ConfigurationError`` when ``target`` is not to be had; no other stands in for it."""
        self._target = target
        with ExitStack() as stack:
            if target.device == "cuda":
                stack.enter_context(hold_gpu(target))
            self._session = _open(path, target)
            self._closing = stack.pop_all()
        self._inputs = [port.name for port in self._session.get_inputs()]
        self._output = self._session.get_outputs()[0].name
        self._turn = nullcontext() if target.device == "cpu" else threading.Lock()

    def run(self, ids: TokenIds, mask: TokenIds) -> npt.NDArray[Any]:
        """Return the states of a batch of shape (rows, tokens), as (rows, tokens, dim) in the graph's own precision.

        Raises ``MemoryError`` when the batch does not fit the device's memory, and what onnxruntime raises.
        """
        offered = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        try:
            with self._turn:
                binding = self._session.io_binding()
                for name in self._inputs:
                    binding.bind_cpu_input(name, offered[name])
                binding.bind_output(self._output, self._target.device, self._target.device_id)
                self._session.run_with_iobinding(binding)
                states: npt.NDArray[Any] = binding.copy_outputs_to_cpu()[0]
                return states
        except Exception as error:
            if says_out_of_memory(str(error)):
                raise MemoryError(f"a batch of {ids.size} padded tokens does not fit the device") from None
            raise

    def close(self) -> None:
        """Let go of the GPU. Its memory is free once no call is under way and nobody holds this session."""
        self._closing.close()


def _open(path: Path, target: Target) -> Any:
    """Return an onnxruntime session on exactly ``target``, never on another in its stead."""
    onnxruntime = _library()
    provider, chosen = provider_of(target)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # callers bring the threads
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False  # a plan per text length would pile up, and shapes hardly repeat
    options.log_severity_level = _LOG_ERRORS
    if provider not in onnxruntime.get_available_providers():
        raise _refused(target, "this onnxruntime was built without it")
    if target.device == "cuda":
        with redirect_stdout(sys.stderr):  # it prints which libraries are missing
            onnxruntime.preload_dlls()
    try:
        # left alone, it would go on with the CPU when the provider fails, at the start or in a run
        session = onnxruntime.InferenceSession(str(path), options, providers=[(provider, chosen)], enable_fallback=0)
    except Exception as error:
        if target.device == "cpu":
            raise
        if says_out_of_memory(str(error)):
            raise _too_small(target) from None
        raise _refused(target, str(error).partition("\n")[0]) from None
    if session.get_providers()[0] != provider:
        raise _refused(target, "it did not start; onnxruntime's own lines above say why")
    return session


def _library() -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, at the import: after it, a first event is already out
    try:
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - 20 MB that only embedding pays
    except ImportError:
        raise ConfigurationError(
            "onnxruntime is not installed. Install Ostraka with the extra `cpu`, or with `gpu` on a host with a GPU."
        ) from None
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _refused(target: Target, reason: str) -> ConfigurationError:
    both = " Both onnxruntime and onnxruntime-gpu are installed, each over the other's files." if _both() else ""
    return ConfigurationError(
        f"[embeddings] device = {target.device!r}: onnxruntime cannot run on it: {reason}.{both} Install the extra "
        "`gpu` in place of `cpu` (docs/gpu.md), with NVIDIA's driver on the host, or set device = 'cpu'.",
        field="embeddings.device",
    )


def _too_small(target: Target) -> ConfigurationError:
    return ConfigurationError(
        f"[embeddings] gpu_memory_bytes_max = {target.memory_bytes_max}: the model does not fit; raise it, or free "
        "memory of the GPU",
        field="embeddings.gpu_memory_bytes_max",
    )


def _both() -> bool:
    """Say whether both packages are here that own the module ``onnxruntime``."""
    names = {distribution.name for distribution in metadata.distributions()}
    return {"onnxruntime", "onnxruntime-gpu"} <= names
