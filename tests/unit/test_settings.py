import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st

from core.errors import ConfigurationError
from core.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(text: str) -> Path:
    path = Path("ostraka.toml")
    path.write_text(text)
    return path


def test_no_file_and_no_variable_give_the_defaults():
    settings = load_settings()
    assert settings.model_dump() == Settings().model_dump()
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 3300)


def test_a_file_in_the_working_directory_is_read_unasked():
    write("[server]\nport = 4000")
    assert load_settings().server.port == 4000


def test_flags_beat_variables_beat_the_file(monkeypatch):
    config = write("[server]\nport = 4000\nhost = '::1'\nlog_level = 'debug'")
    monkeypatch.setenv("OSTRAKA_SERVER__PORT", "4001")
    monkeypatch.setenv("OSTRAKA_SERVER__HOST", "0.0.0.0")
    server = load_settings(config, {"server": {"port": 4002}}).server
    assert (server.port, server.host, server.log_level) == (4002, "0.0.0.0", "debug")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nprot = 1", "[server] prot: there is no such setting"),
        ("[sever]\nport = 1", "[sever]: there is no such setting"),
        ("port = 1", "[port]: there is no such setting"),
        ("[server]\nport = 70000", "[server] port"),
        ("[server]\nport = 'many'", "[server] port"),
        ("[server]\nhost = ''", "[server] host"),
        ("[retrieval]\nbm25_k1 = 1.5", "[retrieval] bm25_k1: must be 1.2: the text index fixes it"),
        ("[retrieval]\nbm25_b = 0", "[retrieval] bm25_b: must be 0.75"),
        ("[storage]\nencryption = 'none'", "[storage] encryption"),
        ("[cache]\nbytes_max = 1", "[cache] bytes_max"),
        ("[queue]\nlease_s = nan", "[queue] lease_s"),
        ("[retrieval]\nweight_dense = 1.01", "[retrieval] weight_dense"),
        ("server = 3", "[server]"),
    ],
)
def test_a_mistake_is_named_with_its_place(text, said):
    with pytest.raises(ConfigurationError) as refused:
        load_settings(write(text))
    assert said in refused.value.message
    assert "\n" not in refused.value.message


def test_all_mistakes_are_named_at_once():
    with pytest.raises(ConfigurationError) as refused:
        load_settings(write("[server]\nport = -1\n[queue]\nattempts_max = 0\nnothing = 1"))
    for place in ("[server] port", "[queue] attempts_max", "[queue] nothing"):
        assert place in refused.value.message


@pytest.mark.parametrize("content", [b"[server", b"[server]\nport = ", b"\xff\xfe", b"[a]\n[a]\n"])
def test_a_file_that_is_not_toml_is_a_configuration_error(content):
    Path("ostraka.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_settings()


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(ConfigurationError, match="--config"):
        load_settings(tmp_path / "other.toml")


@pytest.mark.parametrize("name", ["OSTRAKA_PORT", "OSTRAKA_SERVER__PROT", "OSTRAKA_SERVER", "OSTRAKA_SERVER_PORT"])
def test_an_unknown_variable_is_named(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigurationError, match=f"{name}: there is no such setting"):
        load_settings()


def test_a_bad_variable_is_named(monkeypatch):
    monkeypatch.setenv("OSTRAKA_SERVER__PORT", "many")
    with pytest.raises(ConfigurationError, match=r"\[server\] port"):
        load_settings()


@pytest.mark.parametrize(
    "name", ["OSTRAKA_ENCRYPTION_KEY", "OSTRAKA_ENCRYPTION_KEY_NEXT", "OSTRAKA_MODELS_DIR", "OSTRAKA_CONFIG"]
)
def test_variables_read_elsewhere_are_left_alone(monkeypatch, name):
    monkeypatch.setenv(name, "x")
    assert load_settings().model_dump() == Settings().model_dump()


def test_the_key_is_never_in_the_settings(monkeypatch):
    monkeypatch.setenv("OSTRAKA_ENCRYPTION_KEY", "c2VjcmV0")
    settings = load_settings()
    assert "c2VjcmV0" not in repr(settings)
    assert "c2VjcmV0" not in repr(settings.as_environment())


def test_settings_do_not_change_after_the_start():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().server.port = 1


sections = st.fixed_dictionaries(
    {},
    optional={
        "server": st.fixed_dictionaries({"port": st.integers(0, 65_535)}),
        "storage": st.fixed_dictionaries(
            {"path": st.sampled_from(["data", "/srv/o s", "ü"]), "key_file": st.none() | st.just("/run/key")},
            optional={"key_source_options": st.dictionaries(st.sampled_from(["key", "ü"]), st.text(max_size=9))},
        ),
        "retrieval": st.fixed_dictionaries({"weight_dense": st.floats(0, 1), "mode": st.sampled_from(["text"])}),
        "queue": st.fixed_dictionaries({"redis_url": st.sampled_from(["", "redis://h/0?a=b"])}),
        "cache": st.fixed_dictionaries({"allow_disk": st.booleans()}),
    },
)


@runs(max_examples=30)  # each one builds the settings twice
@given(sections)
def test_a_child_process_loads_the_same_settings(given_sections):
    settings = load_settings(None, given_sections)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.as_environment().items():
            patch.setenv(name, value)
        assert load_settings().model_dump() == settings.model_dump()


def test_a_real_child_process_reads_its_environment():
    settings = load_settings(None, {"server": {"port": 4321}})
    printed = subprocess.run(
        [sys.executable, "-c", "from core.settings import load_settings; print(load_settings().server.port)"],
        env={**settings.as_environment(), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=True,
        text=True,
    )
    assert printed.stdout == "4321\n"


def test_int8_on_a_gpu_is_refused_at_the_start():
    with pytest.raises(ConfigurationError, match=r"\[embeddings\].*'int8' runs on the CPU only; set 'fp16' or 'fp32'"):
        load_settings(None, {"embeddings": {"device": "cuda"}})
