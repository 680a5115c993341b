"""A stop is heeded, also where its exception went nowhere."""

import os
import signal
from contextlib import suppress

import pytest

from cli.stopping import StopSignals


@pytest.fixture(params=[signal.SIGTERM, signal.SIGINT])
def number(request):
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield request.param
    for each, handler in before.items():
        signal.signal(each, handler)


def test_a_signal_ends_the_process_in_order(number):
    stop = StopSignals()
    stop.heed()
    with pytest.raises(SystemExit) as ended:
        os.kill(os.getpid(), number)
    assert ended.value.code == 0


def test_one_that_was_swallowed_is_heeded_later(number):
    stop = StopSignals()
    with suppress(SystemExit):
        os.kill(os.getpid(), number)
    with pytest.raises(SystemExit):
        stop.heed()
    with pytest.raises(SystemExit):
        stop.then(lambda: None)


def test_who_is_running_by_then_is_told(number):
    told = []
    stop = StopSignals()
    stop.then(lambda: told.append("stop"))
    with suppress(SystemExit):
        os.kill(os.getpid(), number)
    assert told == ["stop"]
