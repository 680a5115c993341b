from collections.abc import Iterator

import pytest
from ostraka import plans
from scripted_server import Script, serve


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    monkeypatch.setattr(plans, "BACKOFF_S", 0.001)
    with serve() as running:
        yield running
