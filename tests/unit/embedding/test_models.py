import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from core.embedding import environment, models
from core.embedding.catalogue import lookup
from core.embedding.environment import run_step
from core.embedding.importing import find_spec, import_model
from core.embedding.manifest import GRAPH_FILES, TOKENIZER_FILE, write_manifest
from core.embedding.models import default_models_dir, ensure_model
from core.embedding.sources import Hub, Wheel
from core.errors import ConfigurationError, IntegrityError

SPEC = lookup("all-MiniLM-L6-v2")


class StubSource:
    """A source that writes small files, or fails."""

    def __init__(self, name, *, error=None, files=("config.json", "model.safetensors", TOKENIZER_FILE)):
        self.name, self.error, self.files, self.calls = name, error, files, 0

    def offers(self, _spec):
        return True

    def fetch(self, _spec, folder, _environment):
        self.calls += 1
        if self.error:
            raise ConfigurationError(self.error)
        for name in self.files:
            (folder / name).write_text("not the real thing")


@pytest.fixture
def no_export(monkeypatch, model_dir):
    """Let the export environment be free of charge: it copies what was exported before."""
    monkeypatch.setattr(environment.ExportEnvironment, "install", lambda _: None)

    def convert(_, source, target):
        for name in (GRAPH_FILES["fp32"], GRAPH_FILES["int8"]):
            shutil.copyfile(model_dir / name, target / name)
        shutil.copyfile(model_dir / TOKENIZER_FILE, source / TOKENIZER_FILE)

    monkeypatch.setattr(environment.ExportEnvironment, "convert", convert)
    monkeypatch.setattr(environment, "run_step", lambda _: None)


def unpinned():
    return replace(SPEC, weights_sha256=None)


def left_behind(folder):
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_an_installed_model_is_used_as_it_is(model_dir):
    assert ensure_model(SPEC, model_dir.parent, offline=True, sources=()) == model_dir


def test_offline_without_the_model_names_the_remedy(tmp_path):
    with pytest.raises(ConfigurationError, match=r"offline.*ostraka models fetch.*models import"):
        ensure_model(SPEC, tmp_path, offline=True)


@pytest.mark.usefixtures("no_export")
def test_the_next_source_is_asked_when_one_fails(tmp_path):
    down, up = StubSource("down", error="no route"), StubSource("up")
    steps = []

    folder = ensure_model(unpinned(), tmp_path, sources=[down, up], progress=steps.append)

    assert json.loads((folder / "manifest.json").read_text())["source"] == "up"
    assert any("no route" in step for step in steps)
    assert left_behind(tmp_path) == {SPEC.name}
    assert ensure_model(unpinned(), tmp_path, sources=[down, up]) == folder
    assert (down.calls, up.calls) == (1, 1)


@pytest.mark.usefixtures("no_export")
def test_when_every_source_fails_nothing_is_left_and_each_reason_is_told(tmp_path):
    sources = [StubSource("one", error="no route"), StubSource("two", files=("config.json",))]

    with pytest.raises(ConfigurationError, match=r"one: no route; two: .*model\.safetensors.*models fetch"):
        ensure_model(unpinned(), tmp_path, sources=sources)

    assert left_behind(tmp_path) == set()


@pytest.mark.usefixtures("no_export")
def test_weights_that_are_not_the_pinned_ones_are_refused(tmp_path):
    with pytest.raises(IntegrityError, match="pinned"):
        ensure_model(SPEC, tmp_path, sources=[StubSource("mirror")])

    assert left_behind(tmp_path) == set()


@pytest.mark.usefixtures("no_export")
def test_a_wrong_export_is_refused_and_nothing_installed(tmp_path):
    wrong = replace(unpinned(), pooling="cls")

    with pytest.raises(IntegrityError, match="fp32 export of all-MiniLM-L6-v2 is wrong"):
        ensure_model(wrong, tmp_path, sources=[StubSource("up")])

    assert left_behind(tmp_path) == set()


@pytest.mark.usefixtures("no_export")
def test_leftovers_of_a_killed_run_are_cleared(tmp_path):
    (tmp_path / ".partial-dead" / "x").mkdir(parents=True)

    ensure_model(unpinned(), tmp_path, sources=[StubSource("up")])

    assert left_behind(tmp_path) == {SPEC.name}


@pytest.mark.usefixtures("no_export")
def test_two_installers_at_once_do_it_once(tmp_path):
    source, steps = StubSource("up"), []

    def install():
        return ensure_model(unpinned(), tmp_path, sources=[source], progress=steps.append)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(install), pool.submit(install)

    assert first.result() == second.result()
    assert source.calls == 1


def test_a_changed_file_is_refused(model_dir, tmp_path):
    copy = shutil.copytree(model_dir, tmp_path / SPEC.name)
    with (copy / GRAPH_FILES["fp32"]).open("ab") as file:
        file.write(b"\0")

    with pytest.raises(IntegrityError, match="not the file that was installed"):
        ensure_model(SPEC, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "files": {"../x": "y"}}'])
def test_a_damaged_manifest_is_refused(model_dir, tmp_path, text):
    copy = shutil.copytree(model_dir, tmp_path / SPEC.name)
    (copy / "manifest.json").write_text(text)

    with pytest.raises(IntegrityError, match="damaged"):
        ensure_model(SPEC, tmp_path)


def test_a_folder_without_manifest_is_not_touched(tmp_path):
    (tmp_path / SPEC.name).mkdir()

    with pytest.raises(ConfigurationError, match="not an Ostraka model folder"):
        ensure_model(SPEC, tmp_path)


def test_another_edition_is_refused(model_dir, tmp_path):
    copy = shutil.copytree(model_dir, tmp_path / SPEC.name)
    write_manifest(copy, replace(SPEC, max_tokens=128), "test")

    with pytest.raises(ConfigurationError, match="another edition"):
        ensure_model(SPEC, tmp_path)


def test_a_failed_step_shows_its_reason_and_no_secret(monkeypatch):
    monkeypatch.setenv("OSTRAKA_ENCRYPTION_KEY", "the-master-key")

    with pytest.raises(ConfigurationError, match="OSTRAKA_ENCRYPTION_KEY None") as raised:
        run_step(
            [
                "/bin/sh",
                "-c",
                'echo "OSTRAKA_ENCRYPTION_KEY ${OSTRAKA_ENCRYPTION_KEY:-None}"; exit 3',
            ]
        )

    assert "exited with 3" in raised.value.message


def test_a_models_folder_that_cannot_be_made_names_the_variable(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match="OSTRAKA_MODELS_DIR"):
        ensure_model(SPEC, tmp_path / "file" / "models", sources=[StubSource("up")])


def test_the_models_folder_follows_its_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("OSTRAKA_MODELS_DIR", str(tmp_path))
    assert default_models_dir() == tmp_path
    monkeypatch.delenv("OSTRAKA_MODELS_DIR")
    assert default_models_dir().parts[-2:] == ("ostraka", "models")


def test_the_wheel_has_the_default_model_only():
    assert Wheel().offers(SPEC)
    assert not Wheel().offers(lookup("e5-small-v2"))
    assert Hub().offers(lookup("e5-small-v2"))


@pytest.fixture
def sentence_folder(tmp_path):
    folder = tmp_path / "my-encoder"
    (folder / "1_Pooling").mkdir(parents=True)
    for name, content in {
        "config.json": {"hidden_size": 384},
        "sentence_bert_config.json": {"max_seq_length": 200},
        "modules.json": [{"type": "sentence_transformers.models.Transformer"}],
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
        "config_sentence_transformers.json": {"prompts": {"query": "q: "}},
        "tokenizer.json": {},
        "model.safetensors": {},
    }.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.usefixtures("no_export")
def test_an_imported_folder_becomes_a_model(tmp_path, sentence_folder):
    models_dir = tmp_path / "models"

    folder = import_model(sentence_folder, models_dir)

    spec = find_spec("my-encoder", models_dir)
    assert (spec.max_tokens, spec.pooling, spec.query_prefix, spec.passage_prefix) == (200, "mean", "q: ", "")
    assert ensure_model(spec, models_dir, offline=True) == folder
    with pytest.raises(ConfigurationError, match="exists"):
        import_model(sentence_folder, models_dir)


@pytest.mark.parametrize("name", ["../up", " ", ".hidden", "all-MiniLM-L6-v2", "a/b"])
def test_an_import_needs_a_plain_name_of_its_own(tmp_path, sentence_folder, name):
    with pytest.raises(ConfigurationError, match="cannot name"):
        import_model(sentence_folder, tmp_path / "models", name=name)


@pytest.mark.parametrize("name", ["../my-encoder", "unknown"])
def test_a_spec_is_found_only_by_a_plain_known_name(tmp_path, name):
    with pytest.raises(ConfigurationError, match="catalogue"):
        find_spec(name, tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
        ("modules.json", [{"type": "sentence_transformers.models.Dense"}], "Dense"),
        ("config.json", {}, "hidden_size"),
    ],
)
def test_an_encoder_we_cannot_reproduce_is_refused(tmp_path, sentence_folder, file, content, message):
    (sentence_folder / file).write_text(json.dumps(content))

    with pytest.raises(ConfigurationError, match=message):
        import_model(sentence_folder, tmp_path / "models")


def test_the_recipes_ship_beside_the_code():
    names = {path.name for path in environment.RECIPES.iterdir()}
    assert {"convert.py", "requirements.txt", "constraints.txt", "weights.txt"} <= names
    assert isinstance(models.SOURCES[0], Hub)
    assert Path(environment.RECIPES).parent.name == "embedding"
