import pytest

from core.errors import ConfigurationError
from core.redisurl import redis_url_of
from core.settings import Queue, load_settings


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "password"
    path.write_text("a/b@c:d é\n")
    path.chmod(0o600)
    return path


def test_without_a_file_the_url_is_as_it_was_given():
    assert redis_url_of(Queue(redis_url="redis://user:word@host:1/2")) == "redis://user:word@host:1/2"


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("redis://host:6379/0", "redis://:a%2Fb%40c%3Ad%20%C3%A9@host:6379/0"),
        ("rediss://user@[::1]/1", "rediss://user:a%2Fb%40c%3Ad%20%C3%A9@[::1]/1"),
    ],
)
def test_the_password_comes_from_the_file(file, url, whole):
    assert redis_url_of(Queue(redis_url=url, redis_password_file=file)) == whole


def test_a_file_that_others_may_read_is_refused(file):
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="readable by others"):
        redis_url_of(Queue(redis_url="redis://host", redis_password_file=file))


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_a_file_without_a_password_is_refused_and_not_quoted(file, content):
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"\[queue\] redis_password_file: .* holds no password"):
        redis_url_of(Queue(redis_url="redis://host", redis_password_file=file))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"\[queue\] redis_password_file: there is no file"):
        redis_url_of(Queue(redis_url="redis://host", redis_password_file=tmp_path / "none"))


@pytest.mark.parametrize("url", ["", "redis://:word@host", "redis+socket:///run/redis.sock"])
def test_a_password_file_needs_a_url_that_lacks_just_it(file, url):
    with pytest.raises(ConfigurationError, match=r"\[queue\].*redis_password_file goes with a redis_url"):
        load_settings(None, {"queue": {"redis_url": url, "redis_password_file": file}})
