"""Three hosts with wires between them: one takes in and answers, one works, one keeps what they share."""

import pytest

from tests.integration.processes import eventually
from tests.multihost.farm import Farm, add, found, indexed, kept

pytestmark = pytest.mark.timeout(600)  # on a loaded machine ten processes take a while to start


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    farm = Farm(tmp_path_factory.mktemp("hosts"))
    try:
        yield farm.start()
        farm.stop()
    finally:
        farm.discard()


def notes(first: int, count: int) -> list[str]:
    return [f"Note {number} lies in drawer {number * 7}." for number in range(first, first + count)]


def test_what_one_host_takes_in_another_indexes_and_the_first_finds(farm):
    jobs = [add(farm.callers, content).json()["job_id"] for content in notes(0, 5)]
    assert eventually(lambda: all(indexed(farm.callers, each) for each in jobs))
    assert sorted(found(farm.readers, "which drawer?")) == notes(0, 5)
    assert not list((farm.folder / "host-a" / "data").rglob("*.shard"))
    assert not list((farm.folder / "host-b" / "data").rglob("*.shard"))


def test_a_worker_that_is_cut_off_catches_up_and_nobody_waits_for_it(farm):
    before = kept(farm.callers)
    farm.network.cut(farm.b)
    added = [add(farm.callers, content) for content in notes(5, 5)]
    assert [each.status_code for each in added] == [202] * 5
    assert found(farm.readers, "which drawer?")
    assert not any(indexed(farm.callers, each.json()["job_id"]) for each in added)
    farm.network.mend(farm.b)
    assert eventually(lambda: all(indexed(farm.callers, each.json()["job_id"]) for each in added))
    assert kept(farm.callers) == sorted([*before, *notes(5, 5)])


def test_a_host_that_is_killed_comes_back_to_everything(farm):
    before = kept(farm.callers)
    job = add(farm.callers, "Note 10 lies in drawer 70.").json()["job_id"]
    farm.kill(farm.api, farm.query)
    farm.revive_a()
    assert eventually(lambda: indexed(farm.callers, job))
    assert kept(farm.callers) == sorted([*before, "Note 10 lies in drawer 70."])
    assert sorted(found(farm.readers, "which drawer?", limit=50)) == kept(farm.callers)
