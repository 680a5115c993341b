"""The default model with its fp16 graph, which models installed by older versions lack."""

import shutil
from pathlib import Path

import pytest

from core.embedding.export.convert import halve
from core.embedding.manifest import GRAPH_FILES, read_manifest, write_manifest


@pytest.fixture(scope="session")
def half_model_dir(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(model_dir, tmp_path_factory.mktemp("half") / model_dir.name)
    halve(folder / GRAPH_FILES["fp32"], folder / GRAPH_FILES["fp16"])
    write_manifest(folder, read_manifest(model_dir).spec, "test")
    return folder
