"""Certificates that cannot be used are refused, and the setting at fault is named."""

import pytest

from cli.tls import Certificate
from core.errors import ConfigurationError
from core.settings import load_settings
from tests.integration.certificates import Authority


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path)


def refusal(cert, key) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Certificate(cert, key)
    return caught.value.message


def test_another_certificates_key_is_refused(authority):
    message = refusal(authority.issue("one")[0], authority.issue("other")[1])
    assert message.startswith("[server] tls_key")
    assert "KEY_VALUES_MISMATCH" in message


def test_absent_files_are_named(authority, tmp_path):
    cert, key = authority.issue("one")
    assert refusal(tmp_path / "absent", key).startswith("[server] tls_cert")
    assert refusal(cert, tmp_path / "absent").startswith("[server] tls_key")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o602])
def test_a_key_that_is_open_to_others_is_refused(authority, mode):
    cert, key = authority.issue("one")
    key.chmod(mode)
    assert "chmod 600" in refusal(cert, key)


def test_what_is_not_pem_is_refused(authority):
    cert, key = authority.issue("one")
    cert.write_bytes(b"\0" * 1_000)
    assert refusal(cert, key).startswith("[server] tls_key")


def test_a_key_under_a_pass_phrase_is_refused_and_nobody_is_asked_for_it(authority):
    cert, key = authority.issue("one", passphrase=b"secret")
    assert "pass phrase" in refusal(cert, key)


def test_a_group_may_read_the_key(authority):
    cert, key = authority.issue("one")
    key.chmod(0o640)
    Certificate(cert, key).close()


@pytest.mark.parametrize("missing", ["tls_cert", "tls_key"])
def test_one_without_the_other_is_refused(missing, tmp_path):
    given = {name: tmp_path / name for name in ("tls_cert", "tls_key") if name != missing}
    with pytest.raises(ConfigurationError, match="set both or neither"):
        load_settings(None, {"server": given})


@pytest.mark.parametrize("proxies", [["0.0.0.0/0"], ["::/0"], ["10.0.0.1/8"], ["proxy.example"], [""]])
def test_proxies_that_are_no_addresses_or_all_of_them_are_refused(proxies):
    with pytest.raises(ConfigurationError, match="trusted_proxies"):
        load_settings(None, {"server": {"trusted_proxies": proxies}})
