"""``ostraka serve`` with its index files in an object store: real processes, the real model, a store that goes away."""

import json

import httpx
import pytest

from tests.faulty_proxy import Fault, faulty_proxy
from tests.integration.processes import eventually

KETTLE = "The kettle is in room 12."
SECRET = "this-is-the-secret-access-key"


@pytest.fixture
def proxy(s3):
    with faulty_proxy(s3.address) as proxy:
        yield proxy


@pytest.fixture
def environment(bucket, proxy, tmp_path):
    secrets = tmp_path / "objects.toml"
    secrets.write_text(f'access_key_id = "tester"\nsecret_access_key = "{SECRET}"\n')
    secrets.chmod(0o600)
    storage = bucket.settings(proxy.url)
    return {
        "OSTRAKA_STORAGE__BLOBS_URL": storage["blobs_url"],
        "OSTRAKA_STORAGE__BLOBS_OPTIONS": json.dumps(storage["blobs_options"]),
        "OSTRAKA_STORAGE__BLOBS_SECRETS_FILE": str(secrets),
        "OSTRAKA_QUEUE__LEASE_S": "3",
    }


def add(server, content, **query):
    return server.client.post("/v1/memory", params=query, json={"namespace": "notes", "content": content})


def found(server, query):
    body = {"namespace": "notes", "query": query, "limit": 1}
    return [hit["content"] for hit in server.client.post("/v1/memory/search", json=body).json()["results"]]


def reasons(server):
    answer = server.client.get("/health/ready")
    return [reason["code"] for reason in answer.json().get("errors", [])]


def reads(proxy):
    return [request for request in proxy.requests if request.method in {"GET", "HEAD"} and ".shard" in request.path]


def indexed(server, answer):
    assert answer.status_code in {201, 202}
    job = answer.json()["job_id"]
    eventually(lambda: server.client.get(f"/v1/jobs/{job}").json()["state"] == "indexed", within_s=120)


def test_a_server_on_an_object_store(server_folder, environment, proxy, bucket):
    server = server_folder(environment=environment).start()
    assert add(server, KETTLE, wait=True).status_code == 201
    assert found(server, "where is the kettle?") == [KETTLE]
    assert len(bucket.keys()) == 1
    assert not list(server.data.glob("companies/*/shards"))
    assert found(server, "which room has a kettle?") == [KETTLE]
    assert reads(proxy) == [], "the worker left what it built in the host's cache"

    proxy.break_(Fault.FORBIDDEN, times=1_000_000)
    eventually(lambda: reasons(server) == ["blobs_unreachable"])
    late = add(server, "Written while the store is away.")
    assert found(server, "where is the kettle?") == [KETTLE]
    proxy.mend()
    indexed(server, late)
    eventually(lambda: reasons(server) == [])
    assert found(server, "written while away") == ["Written while the store is away."]
    server.stop()
    assert SECRET not in server.log.read_text()


@pytest.mark.long_run
def test_a_worker_killed_in_the_middle_of_a_put_leaves_nothing_that_is_listed(
    server_folder, environment, proxy, bucket
):
    server = server_folder(environment=environment).start()
    proxy.break_(Fault.HANG, concerns=lambda method, _: method == "PUT")
    answer = add(server, KETTLE)
    eventually(lambda: proxy.count("PUT") == 1)
    server.worker.kill()
    assert bucket.keys() == []
    indexed(server, answer)
    assert len(bucket.keys()) == 1
    assert found(server, "where is the kettle?") == [KETTLE]
    server.stop()


@pytest.mark.long_run
def test_a_server_that_starts_without_its_store_answers_all_the_same(server_folder, environment, proxy):
    server = server_folder(environment=environment).start()
    assert add(server, KETTLE, wait=True).status_code == 201
    server.stop()
    proxy.break_(Fault.FORBIDDEN, times=1_000_000)
    server = server_folder(environment=environment).spawn()
    server.client = httpx.Client(base_url=server.event("listening")["url"], timeout=60)
    eventually(lambda: reasons(server) == ["blobs_unreachable"])
    assert found(server, "where is the kettle?") == [KETTLE]
    server.stop()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"OSTRAKA_STORAGE__BLOBS_URL": "s3:/bucket"}, "[storage] blobs_url: must be s3://bucket/prefix"),
        ({"OSTRAKA_STORAGE__BLOBS_SECRETS_FILE": "nowhere.toml"}, "[storage] blobs_secrets_file: there is no file"),
    ],
)
def test_a_setting_that_cannot_be_stops_the_start(server_folder, environment, wrong, said):
    server = server_folder(environment=environment | wrong)
    assert server.spawn().wait() == 2
    assert said in server.log.read_text()
