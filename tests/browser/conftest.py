"""A real browser, headless."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.programs import program

# It runs as root in containers, without a GPU, and must ask nobody but the page it is sent to.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Of one test alone: as long as it is open, no test in this process can run a loop of its own."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program("chromium"), headless=True, args=_FLAGS)
        yield opened
        opened.close()
