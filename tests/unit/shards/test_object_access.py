"""Opening an object store: nothing is sent, everything that cannot work is said."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core.errors import ConfigurationError
from core.settings import load_settings
from core.shards.depot import LocalDepot, open_depot

S3_SECRETS = 'access_key_id = "tester"\nsecret_access_key = "do-not-tell"\n'


def depot(folder, **storage):
    return open_depot(load_settings(None, {"storage": {"path": folder, **storage}}).storage, folder)


def refused(folder, **storage) -> str:
    with pytest.raises(ConfigurationError) as failed:
        depot(folder, **storage)
    assert "do-not-tell" not in failed.value.message
    return failed.value.message


@pytest.fixture
def secrets(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "secrets"
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


def service_account() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {"type": "service_account", "private_key_id": "1", "client_email": "ostraka@example.test"}
    return json.dumps(account | {"private_key": pem})


def test_without_a_url_they_lie_in_the_data_directory(tmp_path):
    assert isinstance(depot(tmp_path), LocalDepot)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("s3://bucket/prefix", S3_SECRETS),
        ("s3://bucket/prefix", S3_SECRETS + 'session_token = "x"'),
        ("az://container/prefix", 'account_key = "ZG8tbm90LXRlbGw="'),
        ("az://container/prefix", 'tenant_id = "t"\nclient_id = "c"\nclient_secret = "do-not-tell"'),
    ],
)
def test_a_store_of_each_kind_opens_with_a_file_of_secrets(tmp_path, secrets, url, text):
    options = {"account": "mine"} if url.startswith("az") else {}
    opened = depot(tmp_path, blobs_url=url, blobs_options=options, blobs_secrets_file=secrets(text))
    assert opened.where == url


def test_a_google_service_account_opens_as_google_hands_it_out(tmp_path, secrets):
    opened = depot(tmp_path, blobs_url="gs://bucket/prefix", blobs_secrets_file=secrets(service_account()))
    assert opened.where == "gs://bucket/prefix"


def test_a_file_that_others_may_read_is_refused(tmp_path, secrets):
    message = refused(tmp_path, blobs_url="s3://bucket", blobs_secrets_file=secrets(S3_SECRETS, 0o644))
    assert "blobs_secrets_file" in message
    assert "chmod 600" in message


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert "there is no file" in refused(tmp_path, blobs_url="s3://bucket", blobs_secrets_file=tmp_path / "no")


@pytest.mark.parametrize(
    ("url", "text", "said"),
    [
        ("s3://bucket", "access_key_id = do-not-tell", "is not TOML"),
        ("s3://bucket", "", "must hold"),
        ("s3://bucket", 'secret = "do-not-tell"', "access_key_id, secret_access_key, session_token"),
        ("s3://bucket", "access_key_id = 7", "must hold"),
        ("gs://bucket", S3_SECRETS, "is not the JSON of a service account"),
        ("gs://bucket", '{"private_key": "do-not-tell"}', "cannot be opened"),
    ],
)
def test_a_file_that_says_something_else_is_refused_and_not_repeated(tmp_path, secrets, url, text, said):
    assert said in refused(tmp_path, blobs_url=url, blobs_secrets_file=secrets(text))


def test_an_azure_account_must_be_named(tmp_path, monkeypatch):
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert "cannot be opened" in refused(tmp_path, blobs_url="az://container")


def test_certificates_that_cannot_be_read_are_named(tmp_path):
    options = {"ca_file": tmp_path / "no.pem"}
    assert "blobs_options.ca_file" in refused(tmp_path, blobs_url="s3://bucket", blobs_options=options)
    (tmp_path / "no.pem").write_text("no certificate")
    assert "cannot be opened" in refused(tmp_path, blobs_url="s3://bucket", blobs_options=options)
