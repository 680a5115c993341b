from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.roles.fleet import Fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet of this test's own, with a Redis; every role ends with the test, with status 0."""
    fleet = Fleet(tmp_path)
    try:
        fleet.start_redis()
        yield fleet
        fleet.stop()
    finally:
        fleet.discard()
