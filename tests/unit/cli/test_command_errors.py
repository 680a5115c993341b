"""The command line's refusals, in this process: one line, status 2, and nothing was started or made."""

import sys

import pytest

from cli.main import main


@pytest.fixture
def ostraka(tmp_path, monkeypatch, capfd):
    """Run a command in an empty folder; return its status and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ostraka", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return ended.value.code, out, err

    return run


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("OSTRAKA_SERVER__PORT", "65536", "[server] port"),
        ("OSTRAKA_SERVER__PORT", "http", "[server] port"),
        ("OSTRAKA_SERVER__COLOUR", "red", "OSTRAKA_SERVER__COLOUR"),
        ("OSTRAKA_STORAGE__ENCRYPTION", "none", "[storage] encryption"),
        ("OSTRAKA_RETRIEVAL__BM25_K1", "2.0", "[retrieval] bm25_k1"),
        ("OSTRAKA_RETRIEVAL__MODE", "magic", "[retrieval] mode"),
        ("OSTRAKA_QUEUE__LEASE_S", "0", "[queue] lease_s"),
        ("OSTRAKA_EMBEDDINGS__MODEL", "no-such-model", "no-such-model"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "api"])
def test_an_impossible_setting_is_named(ostraka, monkeypatch, tmp_path, command, name, value, says):
    monkeypatch.setenv(name, value)
    status, out, err = ostraka(command)
    assert (status, out) == (2, "")
    assert err.startswith("ostraka: ")
    assert says in err
    assert not (tmp_path / "ostraka-data").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [("[server]\nprot = 1\n", "[server] prot"), ("[server\n", "ostraka.toml"), ("[sever]\n", "[sever]")],
)
def test_a_wrong_file_is_named(ostraka, tmp_path, text, says):
    (tmp_path / "ostraka.toml").write_text(text)
    status, _, err = ostraka("serve")
    assert status == 2
    assert says in err


def test_a_missing_file_is_named(ostraka):
    status, _, err = ostraka("serve", "--config", "none.toml")
    assert (status, "none.toml" in err) == (2, True)


def test_unknown_queues_are_named(ostraka):
    status, _, err = ostraka("worker", "--queues", "embed,sweep")
    assert (status, "sweep" in err) == (2, True)


def test_the_api_alone_needs_a_redis(ostraka):
    status, _, err = ostraka("api")
    assert (status, "[queue] redis_url" in err) == (2, True)


def test_the_worker_alone_needs_a_redis(ostraka):
    status, _, err = ostraka("worker")
    assert (status, "[queue] redis_url" in err) == (2, True)


def test_a_data_path_that_is_a_file_is_named(ostraka, tmp_path):
    (tmp_path / "data").write_text("")
    for command in (("serve",), ("keys", "list")):
        status, _, err = ostraka(*command, "--data", str(tmp_path / "data"))
        assert (status, "[storage] path" in err) == (2, True)


def test_help_lists_the_commands(ostraka):
    status, out, _ = ostraka("--help")
    assert status == 0
    for command in ("serve", "api", "worker", "keys", "models", "companies"):
        assert command in out


@pytest.mark.parametrize("command", ["retry", "discard"])
@pytest.mark.parametrize(
    ("chosen", "says"),
    [([], "--all"), (["--all", "--id", "m"], "--all"), (["--row", "four"], "--row"), (["--row", "m_²"], "--row")],
)
def test_what_to_do_with_failures_must_be_clear(ostraka, tmp_path, command, chosen, says):
    status, _, err = ostraka("failures", command, "--namespace", "n", *chosen)
    assert (status, says in err) == (2, True)
    assert list(tmp_path.iterdir()) == []
