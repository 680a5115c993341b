"""The master key from Vault's transit engine, against a stand-in that seals as the documentation of Vault says."""

import base64
import json
import os
import secrets
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from core.crypto import vault
from core.crypto.keyfile import KeyFile
from core.errors import ConfigurationError, OstrakaError, Unavailable
from tests.integration.processes import ROOT, run_command
from tests.plugins import install_plugin
from tests.vault_double import VaultDouble

AGAIN = vault._RETRIES.total + 1


@pytest.fixture
def double() -> Iterator[VaultDouble]:
    double = VaultDouble()
    yield double
    double.close()


@pytest.fixture
def source(double, tmp_path) -> Callable[..., KeyFile]:
    """Open the source with the token in the environment, unless options or environment say otherwise."""

    def opened(environment=None, **options) -> KeyFile:
        options = {"address": double.address, "key": "ostraka", "file": str(tmp_path / "keys" / "vault")} | options
        return vault.open_vault(
            "store_a", options, {"VAULT_TOKEN": double.token} if environment is None else environment
        )

    return opened


@pytest.fixture
def made(source):
    key = source().prepare_next()
    source().promote(key)
    return key


def private(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)


def test_a_key_is_made_once_and_found_again(source, made, tmp_path):
    assert source().find(None) == source().find(made.key_id) == made
    content = (tmp_path / "keys" / "vault").read_bytes()
    assert content.startswith(b"vault:v1:")
    assert made.secret not in content
    assert base64.b64encode(made.secret) not in content
    assert (tmp_path / "keys" / "vault").stat().st_mode & 0o777 == 0o600


def test_without_a_file_there_is_no_key(source, double):
    assert source().find(None) is None
    assert double.requests == []


def test_the_file_lies_with_the_generated_keys_unless_said(source):
    assert source(file=str(Path("elsewhere"))).where.endswith("file elsewhere")
    found = vault.open_vault("store_a", {"address": "https://vault", "key": "ostraka"}, {"VAULT_TOKEN": "t"})
    assert found.where == (
        "Vault key transit/ostraka at https://vault, file "
        + os.environ["XDG_CONFIG_HOME"]
        + "/ostraka/keys/store_a.vault"
    )


def test_vault_is_asked_once_for_as_long_as_the_file_is_the_same(source, double, made):
    opened, before = source(), len(double.requests)
    for _ in range(3):
        assert opened.find(made.key_id) == made
    assert [path for path, _ in double.requests[before:]] == ["/v1/transit/decrypt/ostraka"]


def test_the_master_key_is_rotated_to_a_new_data_key(source, made):
    following = source().prepare_next()
    assert following != made
    assert source().find(made.key_id) == made
    assert source().find(following.key_id) == following  # the store names it: what a crash left undone is done
    assert source().find(None) == following


def test_a_newer_version_of_the_transit_key_opens_what_the_older_sealed(source, double, made, tmp_path):
    double.rotate()
    assert source().find(None) == made
    following = source().prepare_next()
    source().promote(following)
    assert (tmp_path / "keys" / "vault").read_bytes().startswith(b"vault:v2:")
    assert source().find(None) == following


def test_a_version_that_is_no_longer_allowed_is_said(source, double, made):
    double.rotate()
    double.min_decryption_version = 2
    with pytest.raises(ConfigurationError, match="min_decryption_version"):
        source().find(None)


def test_a_ciphertext_of_another_key_is_refused(source, double, made):
    double.versions = [secrets.token_bytes(32)]
    with pytest.raises(ConfigurationError, match="another key's"):
        source().find(None)


@pytest.mark.parametrize("content", ["", "nonsense", base64.b64encode(bytes(32)).decode(), "schlüssel"])
def test_a_file_that_is_no_ciphertext_never_leaves_the_machine(source, double, made, tmp_path, content):
    before = len(double.requests)
    (tmp_path / "keys" / "vault").write_text(content)
    with pytest.raises(ConfigurationError, match="no ciphertext"):
        source().find(None)
    assert len(double.requests) == before


def test_each_way_to_log_in(source, double, made, tmp_path):
    approle = {"role_id": double.role_id, "secret_id_file": private(tmp_path / "secret-id", double.secret_id + "\n")}
    pod = {"kubernetes_role": "ostraka", "kubernetes_token_file": str(tmp_path / "jwt")}
    (tmp_path / "jwt").write_text(double.pods["ostraka"])
    for options in ({"token_file": private(tmp_path / "token", double.token + "\n")}, approle, pod):
        assert source({}, **options).find(None) == made


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "in one way"),
        ({"token_file": "token", "kubernetes_role": "ostraka"}, "in one way"),
        ({"role_id": "role"}, "go together"),
        ({"token": "hvs.secret"}, r"key_source_options\.token: Extra"),
        ({"token_file": "token", "key": "../sys/seal"}, r"key_source_options\.key"),
        ({"token_file": "token", "address": "http://vault.example"}, "write https"),
        ({"token_file": "token", "address": "http://127.0.0.1.vault.example"}, "write https"),
        ({"token_file": "token", "address": "https://user:word@vault.example"}, "write https://HOST"),
        ({"token_file": "token", "address": "vault.example"}, "write https://HOST"),
        ({"token_file": "token", "address": "ftp://vault.example"}, "write https://HOST"),
    ],
)
def test_options_that_are_not_clear_are_refused(source, options, said):
    with pytest.raises(ConfigurationError, match=said) as refused:
        source({}, **options)
    for secret in ("hvs.", "word"):
        assert secret not in refused.value.message


def test_a_token_that_others_can_read_is_refused(source, made, tmp_path):
    file = tmp_path / "token"
    file.write_text("hvs.token")
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        source({}, token_file=str(file)).find(None)


def test_a_wrong_token_is_refused_and_not_quoted(source, made):
    with pytest.raises(ConfigurationError, match="refuses us") as refused:
        source({"VAULT_TOKEN": "hvs.wrong"}).find(None)
    assert "hvs.wrong" not in refused.value.message


def test_a_sealed_vault_is_waited_for_a_little_and_then_said_to_be_away(source, double, made):
    double.sealed = True
    before = len(double.requests)
    with pytest.raises(Unavailable, match="unseal it"):
        source().find(None)
    assert len(double.requests) - before == AGAIN
    double.sealed = False
    assert source().find(None) == made


def test_a_vault_that_is_slow_or_away_is_not_waited_for(source, double, made, monkeypatch):
    monkeypatch.setattr(vault, "_TIMEOUTS_S", (1.0, 0.1))
    double.delay_s = 1.0
    with pytest.raises(Unavailable, match="does not answer"):
        source().find(None)
    with pytest.raises(Unavailable, match="does not answer"):
        source(address="http://127.0.0.1:1").find(None)


ANSWERS = {
    "no JSON": b"<html>",
    "nothing": b"",
    "a list": b"[]",
    "no data": b"{}",
    "no plaintext": b'{"data": {}}',
    "a number": b'{"data": {"plaintext": 7}}',
    "not base64": b'{"data": {"plaintext": "=secret="}}',
    "a short key": json.dumps({"data": {"plaintext": base64.b64encode(bytes(16)).decode()}}).encode(),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_none_is_refused_and_not_quoted(source, double, made, answer):
    double.raw = (200, answer)
    with pytest.raises(OstrakaError) as refused:
        source().find(None)
    assert isinstance(refused.value, ConfigurationError | Unavailable)
    assert "secret" not in refused.value.message


def test_the_token_does_not_follow_a_redirection(source, double, made):
    double.raw = (307, b"")
    before = len(double.requests)
    with pytest.raises(Unavailable, match="name the active node"):
        source().find(None)
    assert "/elsewhere" not in [path for path, _ in double.requests[before:]]


def test_the_token_is_shown_to_no_proxy(source, double, made, monkeypatch):
    proxy = VaultDouble()
    try:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.address)
        assert source().find(None) == made
        assert proxy.requests == []
    finally:
        proxy.close()


def test_a_key_that_could_not_be_opened_again_is_not_used(source, double, monkeypatch):
    monkeypatch.setattr(double, "min_decryption_version", 2)  # stands for a policy that lets us make, not open
    with pytest.raises(ConfigurationError):
        source().prepare_next()
    assert source().find(None) is None


def test_it_is_an_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [(name, value)] = project["entry-points"]["ostraka.key_sources"].items()
    assert (name, EntryPoint(name, value, "ostraka.key_sources").load()) == ("vault", vault.open_vault)


def test_a_store_is_made_and_opened_with_it(double, tmp_path):
    install_plugin(tmp_path / "plugin", "vault-here", "core.crypto.vault:open_vault")
    environment = {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path / 'plugin'}",
        "OSTRAKA_STORAGE__KEY_SOURCE": "vault-here",
        "OSTRAKA_STORAGE__KEY_SOURCE_OPTIONS": json.dumps({"address": double.address, "key": "ostraka"}),
        "VAULT_TOKEN": double.token,
    }
    for _ in range(2):
        status, _, said = run_command(tmp_path, "keys", "list", environment=environment)
        assert status == 0, said
    assert len(list((tmp_path / "config" / "ostraka" / "keys").glob("store_*.vault"))) == 1
    status, _, said = run_command(tmp_path, "keys", "list", environment=environment | {"VAULT_TOKEN": "hvs.wrong"})
    assert (status, "refuses us" in said, "hvs.wrong" in said) == (2, True, False)
