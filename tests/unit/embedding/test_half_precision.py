"""What fp16 does to vectors, on a CPU: weights and results rounded to fp16; a GPU also computes in it."""

import random
import re
from pathlib import Path

import numpy as np
import pytest

from core.embedding.manifest import read_manifest
from core.embedding.runtime import Embedder
from core.embedding.sanity import DEVICE_COSINE_MIN, check_device, check_model
from core.errors import ConfigurationError, IntegrityError

ROOT = Path(__file__).parents[3]


def own_texts(count):
    """Return paragraphs of our own pages, short ones and long ones, and what is not English."""
    pages = "\n\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
    paragraphs = [each for each in re.split(r"\n\s*\n|\n[|-] ", pages) if len(each) > 20]
    sample = random.Random(20261122).sample(paragraphs, count)
    return [*sample, "ok", "明天下午三点在图书馆见面", "Der Schlüssel liegt unter der Matte.", "clay kiln " * 600]


@pytest.fixture(scope="module")
def half(half_model_dir):
    opened = Embedder(half_model_dir, precision="fp16", threads=2)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def full(half_model_dir):
    opened = Embedder(half_model_dir, precision="fp32", threads=2)
    yield opened
    opened.close()


def cosines(ours, theirs):
    return (np.concatenate(ours) * np.concatenate(theirs)).sum(axis=1)


def test_fp16_agrees_with_fp32(half, full):
    texts = own_texts(40)

    assert cosines(half.embed_passages(texts), full.embed_passages(texts)).min() >= 0.999


def test_fp16_vectors_do_not_depend_on_the_batch_beyond_rounding(half):
    texts = own_texts(20)
    alone = [half.embed_passages([text])[0] for text in texts]
    together = half.embed_passages(texts * 2)

    np.testing.assert_allclose(np.concatenate(together), np.concatenate(alone * 2), atol=1e-3)
    assert cosines(together, alone * 2).min() >= 0.99999


def test_the_fingerprint_names_fp16(half, full):
    assert half.fingerprint.startswith("all-MiniLM-L6-v2:fp16:")
    assert half.fingerprint != full.fingerprint


def test_a_new_model_is_checked_in_fp16_too(half_model_dir):
    check_model(half_model_dir, read_manifest(half_model_dir))


def test_a_device_that_agrees_with_the_cpu_is_taken(half, half_model_dir):
    check_device(half, half_model_dir, "fp16")


def test_a_device_that_computes_something_else_is_refused(half, half_model_dir, monkeypatch):
    run = half._session.run
    noise = np.random.default_rng(3).normal(0, 0.1, 384).astype(np.float16)
    monkeypatch.setattr(half._session, "run", lambda ids, mask: run(ids, mask) + noise)

    with pytest.raises(IntegrityError, match=rf"other vectors than the CPU .* {DEVICE_COSINE_MIN} needed"):
        check_device(half, half_model_dir, "fp16")


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_numbers_out_of_range_never_become_a_vector(half, monkeypatch, wrong):
    monkeypatch.setattr(half._session, "run", lambda ids, _: np.full((*ids.shape, 384), wrong, dtype=np.float16))

    with pytest.raises(ConfigurationError, match=r"precision = 'fp16'.*use 'fp32'"):
        half.embed_passages(["a text", "a text that is longer"])
