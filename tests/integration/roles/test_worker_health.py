"""A worker's health comes from its own loops: Redis may be away, a drain may not hang."""

import re

from tests.integration.processes import Process, eventually
from tests.integration.roles import hanging_worker, interrupted_worker
from tests.integration.roles.fleet import indexed, note


class HangingWorker(Process):
    """A worker that hangs in one text."""

    program = (hanging_worker.__file__,)


class InterruptedWorker(Process):
    """A worker that gets a SIGTERM while it imports."""

    program = (interrupted_worker.__file__,)


def silent_s(health, loop):
    return float(re.search(rf'ostraka_loop_silent_seconds{{loop="{loop}"}} (\S+)', health.get("/metrics").text)[1])


def beats(health, loop):
    """Whether a loop is seen to come round: its silence grows, and ends."""
    before = silent_s(health, loop)
    return eventually(lambda: silent_s(health, loop) < before)


def test_a_redis_that_is_away_shows_in_readiness_and_not_in_liveness(fleet):
    health = fleet.client_of(fleet.begin("worker"))
    eventually(lambda: health.get("/health/ready").json() == {"status": "ready"})
    assert beats(health, "consumer")
    fleet.kill_redis()
    eventually(lambda: health.get("/health/ready").status_code == 503)
    assert [each.partition(":")[0] for each in health.get("/health/ready").json()["problems"]] == ["redis_unreachable"]
    assert beats(health, "consumer")
    assert beats(health, "watch-embed")
    assert health.get("/health/live").json() == {"status": "alive"}
    fleet.start_redis()
    eventually(lambda: health.get("/health/ready").json() == {"status": "ready"})


def test_a_worker_that_is_stopped_while_it_starts_ends_in_order(fleet):
    assert fleet.begin("worker", kind=InterruptedWorker).wait() == 0


def test_a_drain_that_hangs_is_not_alive_and_says_where(fleet):
    hanging = fleet.begin("worker", kind=HangingWorker, OSTRAKA_WORKER__HUNG_S="3")
    health, api = fleet.client_of(hanging), fleet.client_of(fleet.begin("api", "--port", "0"))
    job = api.post("/v1/memory", json=note("A note.")).json()["job_id"]
    eventually(lambda: indexed(api, job))
    assert health.get("/health/live").json() == {"status": "alive"}
    api.post("/v1/memory", json=note(f"An {hanging_worker.ENDLESS} note."))
    eventually(lambda: health.get("/health/live").status_code == 503)
    answer = health.get("/health/live").json()
    assert answer["status"] == "stuck"
    assert all(re.fullmatch(r"(task|watch)-embed: silent for \d+ s", problem) for problem in answer["problems"])
    hanging.discard()  # it would not end by itself
    fleet.members.remove(hanging)
