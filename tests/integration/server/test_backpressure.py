"""A queue that is full says so: 429 or 503 with Retry-After, and nothing of the request is written."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from lone_api import LoneApi

from tests.integration.processes import eventually

DEPTH_MAX = 20


@pytest.fixture
def api(tmp_path):
    api = LoneApi(tmp_path, OSTRAKA_QUEUE__DEPTH_MAX=str(DEPTH_MAX), OSTRAKA_QUEUE__BYTES_MAX=str(2**20))
    try:
        yield api.start()
        api.stop()
    finally:
        api.discard()


def refused(response, status, code):
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    if status in {429, 503}:
        assert 1 <= int(response.headers["retry-after"]) <= 60
    return True


def test_a_full_lane_refuses_and_writes_nothing_while_the_other_goes_on(api):
    assert refused(api.load(["note"] * (DEPTH_MAX + 1), namespace="new"), 413, "too_large")
    assert refused(api.load(["x" * 90_000] * 12, namespace="new"), 413, "too_large")
    assert api.load(["note"] * 15, namespace="bulk").status_code == 202
    assert refused(api.load(["note"] * 6, namespace="new"), 429, "queue_full")
    assert api.count("bulk") == 15
    assert api.count("new") == -1, "not even the namespace was made"
    assert api.load(["note"] * 5, namespace="bulk").status_code == 202
    assert refused(api.load(["note"], namespace="bulk"), 429, "queue_full")

    answers = [api.add(f"note {number}").status_code for number in range(DEPTH_MAX)]
    assert answers == [202] * DEPTH_MAX, "a backlog of bulk rows keeps no agent waiting"
    assert refused(api.add(), 429, "queue_full")
    first = api.client.get("/v1/memory", params={"namespace": "notes", "limit": 1}).json()["memories"][0]["id"]
    change = api.client.patch(f"/v1/memory/{first}", params={"namespace": "notes"}, json={"tags": ["x"]})
    assert refused(change, 429, "queue_full")
    assert api.count() == DEPTH_MAX

    assert api.client.delete(f"/v1/memory/{first}", params={"namespace": "notes"}).status_code == 204
    eventually(lambda: api.add().status_code == 202)


def test_a_repeated_request_gets_its_answer_from_a_full_server(api):
    single, load = api.add(key="k-1"), api.load(["one", "two"], key="k-2")
    assert (single.status_code, load.status_code) == (202, 202)
    assert api.load(["note"] * (DEPTH_MAX - 2)).status_code == 202
    for number in range(DEPTH_MAX - 1):
        assert api.add(f"note {number}").status_code == 202
    assert refused(api.add(key="k-3"), 429, "queue_full")
    assert refused(api.load(["three"], key="k-4"), 429, "queue_full")

    assert api.add(key="k-1").json() == single.json()
    assert api.load(["one", "two"], key="k-2").json() == load.json()
    assert refused(api.add("another", key="k-1"), 409, "conflict")


def test_a_crowd_does_not_pass_the_bound(api):
    with ThreadPoolExecutor(16) as crowd:
        answers = list(crowd.map(lambda number: api.add(f"note {number}").status_code, range(4 * DEPTH_MAX)))
    assert sorted(answers) == [202] * DEPTH_MAX + [429] * 3 * DEPTH_MAX
    assert api.count() == DEPTH_MAX


def test_an_almost_full_disk_takes_nothing_in_and_lets_everything_out(tmp_path):
    api = LoneApi(tmp_path).start()
    kept = api.add("Kept from better days.", key="k-1").json()
    api.stop()
    api = LoneApi(tmp_path, OSTRAKA_STORAGE__FREE_BYTES_MIN=str(2**60)).start()
    try:
        assert refused(api.add(), 503, "disk_full")
        assert refused(api.load(["note"]), 503, "disk_full")
        where = f"/v1/memory/{kept['id']}"
        assert refused(api.client.patch(where, params={"namespace": "notes"}, json={"tags": ["x"]}), 503, "disk_full")
        assert api.add("Kept from better days.", key="k-1").json() == kept
        ask = {"namespace": "notes", "query": "better days"}
        assert api.client.post("/v1/memory/search", json=ask).status_code == 200
        codes = [reason["code"] for reason in api.client.get("/health/ready").json()["errors"]]
        assert "disk_nearly_full" in codes
        assert api.client.delete(where, params={"namespace": "notes"}).status_code == 204
        assert api.count() == 0
        api.stop()
    finally:
        api.discard()
