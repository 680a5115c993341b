"""A script for the export environment: SOURCE folder with safetensors in, TARGET folder with ONNX files out.

It runs under that environment's Python, so it imports nothing of ours, and its own imports exist only there.
"""

import importlib
import shutil
import sys
from pathlib import Path


def convert(source: Path, target: Path) -> None:
    """Write ``model.onnx`` (fp32) and ``model_int8.onnx`` of the encoder in ``source`` into ``target``.

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
    shutil.rmtree(exported)


def _normalise(source: Path, target: Path) -> None:
    """Rewrite an ONNX file without the marks of whoever made it: equal models become equal files."""
    onnx = importlib.import_module("onnx")
    model = onnx.load(str(source))
    for field in ("producer_name", "producer_version", "doc_string", "metadata_props"):
        model.ClearField(field)
    for node in model.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    target.write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
