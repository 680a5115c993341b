"""Asking the Redis behind Celery: does it answer, does it let us in, how many rings wait."""

from typing import Final

import redis
import structlog

from core.errors import ConfigurationError

log = structlog.get_logger()

_ANSWER_S: Final = 2.0


def connect(celery_url: str, answer_s: float = _ANSWER_S) -> redis.Redis:
    """Return a client of the Redis of a Celery URL; nothing is connected yet."""
    url = celery_url.replace("redis+socket://", "unix://", 1)
    return redis.Redis.from_url(url, socket_timeout=answer_s, socket_connect_timeout=answer_s)


def ping(celery_url: str) -> bool:
    """Say whether the Redis of a Celery URL answers within a second."""
    try:
        with connect(celery_url, 1.0) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False


def refuse_wrong_credentials(celery_url: str) -> None:
    """Raise ``ConfigurationError`` when Redis answers, but not to us. One that is away may come later."""
    try:
        with connect(celery_url) as client:
            client.ping()
    except redis.AuthenticationError:
        raise ConfigurationError(
            "[queue] redis_url: Redis refuses the user or the password; write redis://USER:PASSWORD@HOST:PORT/0, "
            "or the password into the file that redis_password_file names"
        ) from None
    except (redis.RedisError, OSError) as error:
        log.warning("redis_away", error=type(error).__name__, meaning="work is found by looking until it is back")
