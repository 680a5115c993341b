import json
import subprocess
import sys

import numpy as np
import pytest

from core.embedding.catalogue import DEFAULT_MODEL, lookup, model_names
from core.embedding.cpu import available_cores
from core.embedding.pooling import pool
from core.errors import ConfigurationError


def test_the_default_model_comes_first():
    assert model_names()[0] == DEFAULT_MODEL
    assert lookup(DEFAULT_MODEL).max_tokens == 256


@pytest.mark.parametrize(
    ("name", "pooling", "query", "passage"),
    [
        ("all-MiniLM-L6-v2", "mean", "", ""),
        ("bge-small-en-v1.5", "cls", "Represent this sentence for searching relevant passages: ", ""),
        ("e5-small-v2", "mean", "query: ", "passage: "),
    ],
)
def test_each_model_has_its_pooling_and_prefixes(name, pooling, query, passage):
    spec = lookup(name)

    assert (spec.pooling, spec.query_prefix, spec.passage_prefix) == (pooling, query, passage)
    assert json.dumps(spec.identity())


def test_an_unknown_model_names_the_setting_and_the_remedy():
    with pytest.raises(ConfigurationError, match=r"\[embeddings\] model.*models import"):
        lookup("gpt-17")


def test_importing_the_package_loads_no_native_library():
    code = (
        "import sys, core.embedding.catalogue, core.embedding.models, core.embedding.runtime;"
        "print(*{'onnxruntime', 'tokenizers', 'huggingface_hub', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", None), ("50000 100000", 1), ("100000 100000", 1), ("garbage", None), ("5 0", None)],
)
def test_a_cgroup_quota_bounds_the_cores(tmp_path, quota, cores):
    (tmp_path / "pod" / "box").mkdir(parents=True)
    (tmp_path / "pod" / "cpu.max").write_text(quota)
    (tmp_path / "membership").write_text("1:cpu:/old\n0::/pod/box\n")
    unlimited = available_cores(membership=tmp_path / "absent", root=tmp_path)

    assert available_cores(membership=tmp_path / "membership", root=tmp_path) == (cores or unlimited)
    assert unlimited >= 1


def test_padding_takes_no_part_in_pooling():
    states = np.zeros((1, 3, 2), dtype=np.float16)
    states[0] = [[3, 0], [0, 4], [100, 100]]
    mask = np.array([[1, 1, 0]])

    assert pool(states, mask, "mean").tolist() == [[np.float32(0.6), np.float32(0.8)]]
    assert pool(states, mask, "cls").tolist() == [[1.0, 0.0]]
