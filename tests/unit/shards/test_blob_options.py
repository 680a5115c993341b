"""What the settings may say of an object store."""

import pytest

from core.errors import ConfigurationError
from core.settings import load_settings

BUCKET = {"blobs_url": "s3://bucket/prefix"}


def load(**storage):
    return load_settings(None, {"storage": storage}).storage


def refused(**storage) -> str:
    with pytest.raises(ConfigurationError) as failed:
        load(**storage)
    return failed.value.message


@pytest.mark.parametrize(
    "url", ["s3://bucket", "s3://my.bucket-1/a/b_c/d.e", "gs://bucket/prefix", "az://container/prefix", ""]
)
def test_a_url_that_names_a_bucket_and_a_prefix(url):
    assert load(blobs_url=url).blobs_url == url


def test_a_slash_at_the_end_means_nothing():
    assert load(blobs_url="s3://bucket/prefix/").blobs_url == "s3://bucket/prefix"


@pytest.mark.parametrize(
    "url",
    [
        "bucket",
        "s3://",
        "s3:///prefix",
        "file:///data",
        "https://bucket.s3.amazonaws.com",
        "s3://name:password@bucket",
        "s3://bucket?region=x",
        "s3://bucket#x",
        "s3://bucket/../other",
        "s3://bucket/.",
        "s3://bucket//prefix",
        "s3://bucket/pre fix",
        "s3://Bucket",
        "memory://",
    ],
)
def test_any_other_url_is_refused(url):
    message = refused(blobs_url=url)
    assert "blobs_url" in message
    assert "s3://bucket/prefix" in message


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"regoin": "x"}, "blobs_options.regoin"),
        ({"secret_access_key": "x"}, "blobs_options.secret_access_key"),
        ({"timeout_s": 0}, "blobs_options.timeout_s"),
        ({"endpoint": "store.example"}, "blobs_options.endpoint"),
        ({"endpoint": "https://name:password@store.example"}, "blobs_options.endpoint"),
        ({"endpoint": "http://store.example:9000"}, "allow_http"),
        ({"account": "mine"}, "blobs_options.account means nothing to s3://"),
    ],
)
def test_an_option_that_cannot_be_is_named(options, named):
    assert named in refused(**BUCKET, blobs_options=options)


def test_options_belong_to_the_kind_of_store():
    assert "blobs_options.region" in refused(blobs_url="gs://bucket", blobs_options={"region": "x"})
    assert "blobs_options.path_style" in refused(blobs_url="az://container", blobs_options={"path_style": False})
    assert load(blobs_url="az://container", blobs_options={"account": "mine"}).blobs_options.account == "mine"


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost", "[::1]:9000"])
def test_loopback_may_be_spoken_to_in_the_clear(host):
    endpoint = f"http://{host}"
    assert load(**BUCKET, blobs_options={"endpoint": endpoint}).blobs_options.endpoint == endpoint


def test_another_machine_only_if_said_so():
    options = {"endpoint": "http://store.example:9000", "allow_http": True}
    assert load(**BUCKET, blobs_options=options).blobs_options.allow_http


@pytest.mark.parametrize("given", [{"blobs_options": {"region": "x"}}, {"blobs_secrets_file": "keys.toml"}])
def test_options_without_a_url_are_refused(given):
    assert "set it" in refused(**given)


def test_a_child_process_is_told_the_same(monkeypatch):
    options = {"account": "mine", "endpoint": "http://127.0.0.1:9000", "timeout_s": 2.5, "ca_file": "/ca.pem"}
    given = {"blobs_url": "az://container/prefix", "blobs_options": options, "blobs_secrets_file": "/run/keys.toml"}
    settings = load_settings(None, {"storage": given})
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings().storage == settings.storage
