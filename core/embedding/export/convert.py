"""A script for the export environment: SOURCE folder with safetensors in, TARGET folder with ONNX files out.

It runs under that environment's Python, so it imports nothing of ours, and its own imports exist only there.
"""

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any


def convert(source: Path, target: Path) -> None:
    """Write ``model.onnx`` (fp32), ``model_fp16.onnx`` and ``model_int8.onnx`` of the encoder in ``source``.

    int8 is dynamic, per channel, with reduced range: per tensor it lost .047 of cosine, and the full range
    overflows on CPUs without VNNI.
    """
    exporter = importlib.import_module("optimum.exporters.onnx")
    quantization = importlib.import_module("onnxruntime.quantization")
    exported = target / "exported"
    exporter.main_export(
        str(source),
        output=exported,
        task="feature-extraction",
        library_name="transformers",
        local_files_only=True,
        do_validation=False,  # the server compares with known vectors afterwards
    )
    full, small = target / "model.onnx", target / "model_int8.onnx"
    _normalise(exported / "model.onnx", full)
    quantization.quantize_dynamic(
        str(full),
        str(small),
        per_channel=True,
        reduce_range=True,
        weight_type=quantization.QuantType.QInt8,
    )
    _normalise(small, small)
    halve(full, target / "model_fp16.onnx")
    shutil.rmtree(exported)


def halve(full: Path, half: Path) -> None:
    """Write the fp32 graph ``full`` to ``half`` in fp16, outputs included: they are what a GPU sends back."""
    onnx = importlib.import_module("onnx")
    float16 = importlib.import_module("onnxruntime.transformers.float16")
    _write(float16.convert_float_to_float16(onnx.load(str(full)), keep_io_types=False), half)


def _normalise(source: Path, target: Path) -> None:
    onnx = importlib.import_module("onnx")
    _write(onnx.load(str(source)), target)


def _write(model: Any, target: Path) -> None:
    """Write a graph without the marks of whoever made it: equal models become equal files."""
    for field in ("producer_name", "producer_version", "doc_string", "metadata_props"):
        model.ClearField(field)
    for node in model.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    target.write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
