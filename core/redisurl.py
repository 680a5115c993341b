"""The URL of the Redis behind the doorbell, with the password that lies in a file of its own."""

from urllib.parse import quote, urlsplit, urlunsplit

from core.privacy import read_password
from core.settings import Queue


def redis_url_of(queue: Queue) -> str:
    """Return ``[queue] redis_url``, with the password of ``redis_password_file`` in it where one is named.

    Raises ``ConfigurationError`` when the file is not there, is empty, or others may read or replace it.
    """
    path = queue.redis_password_file
    if path is None:
        return queue.redis_url
    password = read_password(path, "[queue] redis_password_file")
    url = urlsplit(queue.redis_url)
    user, _, host = url.netloc.rpartition("@")
    return urlunsplit(url._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))
