"""Tenants do not meet: random requests of many credentials, each answer held against a model of who may see what."""

from collections import Counter

import pytest

from core.settings import ENV_DATABASE_URL
from tests.commands import run_here
from tests.integration.processes import Server, eventually
from tests.security.intruder import FORMS, Intruder
from tests.security.tenants import COMPANIES, World
from tests.stores import BOTH

RECORD_STORES = BOTH

REQUESTS = {"sqlite": 1_200, "postgres": 600}
REQUESTS_OVER_HTTP = 300


class OverHttp:
    """A server of real processes, its keys made by the command line."""

    def __init__(self, folder, database_url):
        self.environment = {ENV_DATABASE_URL: database_url, "OSTRAKA_AUTH__FAILURES_PER_MINUTE": "1000000"}
        self.server = Server(folder, environment=self.environment)

    def make_key(self, company, scopes, patterns):
        flags = [flag for pattern in patterns for flag in ("--namespace", pattern)]
        return self.run("keys", "create", "--company", company, "--scope", ",".join(scopes), *flags)

    def run(self, *arguments):
        done = run_here(self.server.folder, *arguments, environment=self.environment)
        assert done.status == 0, done.said
        return done.out.strip()

    def settle(self, world):
        for admin in world.admins.values():
            eventually(
                lambda admin=admin: all(
                    job["finished_at"]
                    for job in world.send(admin, "GET", "/v1/jobs", params={"limit": 500}).json()["jobs"]
                )
            )


@pytest.fixture
def over_http(tmp_path, database_url):
    opened = OverHttp(tmp_path, database_url)
    try:
        opened.server.start()
        yield opened
        opened.server.stop()
    finally:
        opened.server.discard()


@pytest.mark.long_run
def test_nor_over_http_with_every_process_at_work(over_http, rng):
    for company in COMPANIES:
        over_http.run("companies", "create", company)
    world = World(over_http.server.client, rng, over_http.make_key)
    over_http.settle(world)
    intruder = Intruder(world, rng, touched=frozenset)
    for _ in range(REQUESTS_OVER_HTTP):
        intruder.attack()
    for holding in world.holdings.values():
        assert world.listed(holding) == sorted(holding.memories.values()), holding.owner


def test_no_request_of_many_tenants_sees_or_harms_another(world, inside, record_store, rng):
    intruder = Intruder(world, rng, inside.touched)
    answered = Counter(intruder.attack() for _ in range(REQUESTS[record_store]))
    inside.settle()
    served = {form for form, status in answered if 200 <= status < 300}
    assert (
        len({form for form in FORMS if not form.destroys and not form.operator} - served) <= 2
    )  # nearly all by chance
    assert intruder.twins > REQUESTS[record_store] / 10
    for holding in world.holdings.values():
        assert world.listed(holding) == sorted(holding.memories.values()), holding.owner
