import shutil
import threading

import numpy as np
import pytest

from core.embedding.fingerprint import fingerprint_of
from core.embedding.manifest import GRAPH_FILES, TOKENIZER_FILE, read_manifest, write_manifest
from core.embedding.runtime import Embedder
from core.errors import ConfigurationError, IntegrityError

TURNS = [
    "Mel: the pottery class starts on Tuesday at seven.",
    "Ana's flight to Lisbon leaves at 06:40, gate B12.",
    "ok",
    "He sold the red bicycle to Tom for forty euros, and Tom's sister painted it green the same week.",
    "Lunch?",
    "The vault code changed after the audit; ask Ruth, never mail it.",
]


@pytest.fixture(scope="module", params=["int8", "fp32"])
def embedder(request, model_dir):
    opened = Embedder(model_dir, precision=request.param, threads=2)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def int8(model_dir):
    opened = Embedder(model_dir, threads=2)
    yield opened
    opened.close()


def assert_unit(vectors, dim):
    assert vectors.dtype == np.float32
    assert vectors.shape[0] >= 1
    assert vectors.shape[1] == dim
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_int8_vectors_do_not_depend_on_the_batch_bit_for_bit(int8):
    alone = [int8.embed_passages([turn])[0] for turn in TURNS]
    together = int8.embed_passages(TURNS * 30)

    for index, vectors in enumerate(together):
        assert vectors.tobytes() == alone[index % len(TURNS)].tobytes()


def test_fp32_vectors_do_not_depend_on_the_batch_beyond_rounding(model_dir):
    fp32 = Embedder(model_dir, precision="fp32", threads=2)
    alone = np.concatenate([fp32.embed_passages([turn])[0] for turn in TURNS])
    together = np.concatenate(fp32.embed_passages(TURNS * 5))
    fp32.close()

    np.testing.assert_allclose(together, np.tile(alone, (5, 1)), atol=2e-6)


def test_callers_at_once_get_what_a_lone_caller_gets(int8):
    expected = int8.embed_passages(TURNS)
    answers = [None] * 4

    def call(slot):
        answers[slot] = int8.embed_passages(TURNS if slot % 2 else TURNS[:3])

    callers = [threading.Thread(target=call, args=(slot,)) for slot in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    for answer in answers:
        for got, wanted in zip(answer, expected, strict=False):
            assert got.tobytes() == wanted.tobytes()


def test_a_long_text_becomes_windows_and_each_end_counts(int8):
    filler = "clay fire water wheel " * 740
    vectors = int8.embed_passages([filler, "The password is heliotrope. " + filler, "short"])

    assert [len(each) for each in vectors] == [14, 14, 1]
    assert_unit(vectors[0], int8.dim)
    assert vectors[0][0].tobytes() != vectors[1][0].tobytes()
    assert len(int8.embed_windows(int8.cut_query(filler))) == 14


@pytest.mark.parametrize("text", ["", " ", "\n\t\u3000", "\x00", "\ud800", "a" * 5_000, "[SEP] [PAD] [CLS]"])
def test_odd_texts_still_give_a_unit_vector(embedder, text):
    assert_unit(embedder.embed_passages([text])[0], embedder.dim)
    assert_unit(embedder.embed_windows(embedder.cut_query(text)), embedder.dim)


def test_every_plane_of_unicode_gives_unit_vectors(int8):
    planes = ["".join(chr(plane * 0x10000 + step) for step in range(0x20, 0x220, 7)) for plane in range(17)]

    for vectors in int8.embed_passages(planes):
        assert_unit(vectors, int8.dim)


def test_special_tokens_in_a_text_are_plain_characters(int8):
    steered = int8._tokenizer.windows(["a [SEP] b"], prefix="")[0][0]

    assert steered.count(102) == 1


def test_no_texts_give_no_vectors(int8):
    assert int8.embed_passages([]) == []


def test_related_texts_are_nearer_than_unrelated_ones(embedder):
    query = embedder.embed_windows(embedder.cut_query("When does Ana fly?"))
    turns = np.concatenate(embedder.embed_passages(TURNS))

    assert int(np.argmax(turns @ query[0])) == 1


def test_the_fingerprint_is_stable_and_tells_precisions_apart(model_dir, int8):
    again, fp32 = Embedder(model_dir, threads=1), Embedder(model_dir, precision="fp32", threads=1)

    assert again.fingerprint == int8.fingerprint
    assert fingerprint_of(read_manifest(model_dir), "int8") == int8.fingerprint
    assert fp32.fingerprint != int8.fingerprint
    again.close()
    fp32.close()


@pytest.mark.parametrize("name", [GRAPH_FILES["int8"], TOKENIZER_FILE])
def test_a_tampered_file_is_refused(model_dir, tmp_path, name):
    copy = shutil.copytree(model_dir, tmp_path / "model")
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)

    with pytest.raises(IntegrityError, match=name):
        Embedder(copy)


def test_a_precision_the_folder_lacks_is_refused_with_the_way_to_get_it(model_dir, tmp_path):
    folder = shutil.copytree(model_dir, tmp_path / "model", ignore=shutil.ignore_patterns(GRAPH_FILES["fp16"]))
    write_manifest(folder, read_manifest(model_dir).spec, "test")

    with pytest.raises(ConfigurationError, match=r"Choose one of: int8, fp32; or .*ostraka models fetch"):
        Embedder(folder, precision="fp16")


def test_large_calls_after_close_are_refused(model_dir):
    closed = Embedder(model_dir, threads=1)
    closed.close()

    with pytest.raises(RuntimeError):
        closed.embed_passages(TURNS)
