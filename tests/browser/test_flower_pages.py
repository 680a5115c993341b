"""What an operator sees of our traffic in Flower: tasks by name, and ids as their arguments."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.processes import eventually
from tests.integration.roles.fleet import Fleet, indexed, note

USER, PASSWORD = "ada", "correct horse"
WAIT_MS = 60_000


@pytest.fixture
def fleet(tmp_path: Path):
    users = tmp_path / "users"
    users.write_text(f"{USER}:{PASSWORD}\n")
    users.chmod(0o600)
    fleet = Fleet(tmp_path, OSTRAKA_FLOWER__USERS_FILE=str(users))
    try:
        fleet.start_redis()
        yield fleet
        fleet.stop()
    finally:
        fleet.discard()


def open_page(browser: Browser, url: str) -> Page:
    context = browser.new_context(
        base_url=url,
        http_credentials={"username": USER, "password": PASSWORD},
        viewport={"width": 1400, "height": 900},
    )
    context.set_default_timeout(WAIT_MS)
    return context.new_page()


def rows_of(page: Page) -> list[dict[str, str]]:
    """The cells of the table of tasks, by column."""
    page.goto("/tasks")
    expect(page.locator("#tasks-table tbody tr td").first).to_be_visible(timeout=WAIT_MS)
    heads = [str(head.get_attribute("data-column")) for head in page.locator("#tasks-table thead th").all()]
    rows = page.locator("#tasks-table tbody tr").all()
    return [dict(zip(heads, row.locator("td").all_inner_texts(), strict=False)) for row in rows]


def test_flower_shows_real_traffic_by_name_with_ids_only(fleet, browser, tmp_path):
    starting = [fleet.begin("api", "--port", "0"), fleet.begin("worker"), fleet.begin("flower", "--port", "0")]
    api, _, flower = (fleet.client_of(member) for member in starting)
    eventually(lambda: flower.get("/api/workers", params={"refresh": 1}, auth=(USER, PASSWORD)).json())
    jobs = [api.post("/v1/memory", json=note(f"Bergamot in room {number}.")).json()["job_id"] for number in range(3)]
    for job in jobs:
        eventually(lambda job=job: indexed(api, job))

    page = open_page(browser, str(flower.base_url))

    def complete() -> list[dict[str, str]]:
        rows = rows_of(page)
        return rows if {"ostraka.embed", "ostraka.index"} <= {row["name"] for row in rows} else []

    rows = eventually(complete)
    page.screenshot(path=tmp_path / "tasks.png", full_page=True)
    assert {row["name"] for row in rows} <= {"ostraka.embed", "ostraka.embed-bulk", "ostraka.index", "ostraka.maintain"}
    assert {row["state"] for row in rows} <= {"SUCCESS", "STARTED", "RECEIVED"}
    for row in rows:
        assert re.fullmatch(r"[\[(]'co_[0-9a-f]{32}'[\]),]+", row["args"]), row

    page.goto("/")
    expect(page.get_by_text("Online").first).to_be_visible(timeout=WAIT_MS)
    page.screenshot(path=tmp_path / "workers.png", full_page=True)
    for path in ("/", "/tasks", "/broker"):
        page.goto(path)
        text = page.content()
        assert "Bergamot" not in text
        assert "room" not in text
