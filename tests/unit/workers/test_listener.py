"""The health port of a worker: off unless it is set, refused where it cannot be had."""

import socket
import threading

import httpx
import pytest

from core.errors import ConfigurationError
from core.pipeline.checkups import Checkups
from core.settings import Worker
from workers.listener import listening
from workers.pulse import Pulse


@pytest.fixture
def parts(control, server_settings):
    return Pulse(), Checkups(control, server_settings, lambda: True), lambda: b"figures 1\n"


def test_without_a_port_nothing_listens(parts):
    with listening(Worker(), *parts):
        assert "listener" not in {thread.name for thread in threading.enumerate()}


def test_a_port_that_is_taken_is_named(parts):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Worker(port=taken.getsockname()[1])
        with pytest.raises(ConfigurationError, match=r"\[worker\] port"), listening(settings, *parts):
            pytest.fail("it listens on a port that is taken")


def test_it_answers_while_the_block_runs_and_is_gone_after(parts):
    with socket.create_server(("127.0.0.1", 0)) as free:
        settings = Worker(port=free.getsockname()[1])
    url = f"http://127.0.0.1:{settings.port}"
    with listening(settings, *parts):
        assert httpx.get(f"{url}/health/live").json() == {"status": "alive"}
        assert httpx.get(f"{url}/health/ready").json() == {"status": "ready"}
        assert httpx.get(f"{url}/metrics").text == "figures 1\n"
        assert httpx.get(f"{url}/v1/memory").status_code == 404
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health/live")
