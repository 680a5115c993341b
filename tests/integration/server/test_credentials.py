"""API keys on a running server: made by the command line, enforced on every route, gone when revoked."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.commands import run_here
from tests.integration.processes import Server, eventually
from tests.integration.server.guarded_routes import OF_ONE_NAMESPACE, OF_THE_SERVER, ROUTES

OWN, OTHER = "team-a", "secret-b"
MEMORY = {"content": "x", "id": "m"}


class Guarded:
    """A server with an administrator's key, and keys on demand."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.deletions: dict[str, str] = {}
        self.admin = self.key("--scope", "read,write,admin")

    def key(self, *flags: str) -> str:
        """Make a key, and wait until the server knows it."""
        status, out, err = run_here(self.server.folder, "keys", "create", *flags)
        assert status == 0, err
        key = next(line for line in out.splitlines() if line.startswith("ostraka_"))
        eventually(lambda: self.call(key, "GET", "/v1/whoami").status_code == 200)
        return key

    def call(self, key: str | None, method: str, path: str, **more) -> httpx.Response:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return self.server.client.request(method, path, headers=headers, **more)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[Guarded]:
    server = Server(tmp_path_factory.mktemp("guarded"))
    try:
        server.start()
        assert server.client.get("/v1/whoami").json()["key_id"] is None  # before the first key, on loopback
        guarded = Guarded(server)
        eventually(lambda: server.client.get("/v1/whoami").status_code == 401)
        for name in (OWN, OTHER):
            add = guarded.call(guarded.admin, "POST", "/v1/memory?wait=true", json=MEMORY | {"namespace": name})
            assert add.status_code == 201
            guarded.call(guarded.admin, "POST", "/v1/memory", json=MEMORY | {"namespace": name, "id": "gone"})
            gone = guarded.call(guarded.admin, "DELETE", f"/v1/memory/gone?namespace={name}")
            guarded.deletions[name] = gone.headers["Ostraka-Deletion"]
        yield guarded
        server.stop()
    finally:
        server.discard()


@pytest.fixture(scope="module")
def keys(guarded) -> dict[str, str]:
    return {scope: guarded.key("--scope", scope, "--namespace", "team-*") for scope in ("read", "write", "admin")}


@pytest.fixture(scope="module")
def job_of(guarded) -> Callable[[str], str]:
    jobs = guarded.call(guarded.admin, "GET", "/v1/jobs").json()["jobs"]
    return {job["namespace"]: job["id"] for job in jobs}.__getitem__


def fill(text: str, namespace: str, job: str, deletion: str) -> str:
    return text.replace("{ns}", namespace).replace("{job}", job).replace("{deletion}", deletion)


def asked(guarded, key, route, namespace, job):
    method, path, body, _ = route
    deletion = guarded.deletions[namespace]
    more = {}
    if body is not None:
        item = body[0] if isinstance(body, list) else body
        item = {
            name: fill(value, namespace, job, deletion) if isinstance(value, str) else value
            for name, value in item.items()
        }
        more["json"] = [item] if isinstance(body, list) else item
    return guarded.call(key, method, fill(path, namespace, job, deletion), **more)


def test_the_table_names_every_guarded_route(guarded):
    paths = guarded.server.client.get("/openapi.json").json()["paths"]
    served = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    tabled = set()
    for method, path, _, _ in ROUTES:
        template = (
            fill(path.partition("?")[0], "{name}", "{job_id}", "{deletion_id}")
            .replace("{key}", "{key_id}")
            .replace("{company}", "{company_id}")
            .replace("/m/", "/{memory_id}/")
        )
        tabled.add((method, template.removesuffix("/m") + "/{memory_id}" if template.endswith("/m") else template))
    assert {route for route in served if not route[1].startswith("/health")} == tabled


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_without_a_credential_every_route_is_closed(guarded, job_of, route):
    answer = asked(guarded, None, route, OWN, job_of(OWN))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_a_key_without_the_scope_is_refused(guarded, keys, job_of, route):
    for scope, key in keys.items():
        if route[3] in {None, scope}:
            continue
        answer = asked(guarded, key, route, OWN, job_of(OWN))
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), scope


@pytest.mark.parametrize("route", OF_THE_SERVER, ids=lambda route: f"{route[0]} {route[1]}")
def test_an_administrator_of_some_namespaces_does_not_operate_the_server(guarded, keys, job_of, route):
    answer = asked(guarded, keys["admin"], route, OWN, job_of(OWN))
    assert (answer.status_code, answer.json()["code"]) == (403, "operator_only")


@pytest.mark.parametrize("route", OF_ONE_NAMESPACE, ids=lambda route: f"{route[0]} {route[1]}")
def test_a_key_for_other_namespaces_is_refused(guarded, job_of, route):
    key = guarded.key("--scope", "read,write,admin", "--namespace", "team-*", "--namespace", "crew")
    answer = asked(guarded, key, route, OTHER, job_of(OTHER))
    if "{job}" in route[1] or "{deletion}" in route[1]:
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "namespace_forbidden")


def test_a_forbidden_namespace_is_not_told_from_one_that_is_not_there(guarded, keys):
    answers = [
        guarded.call(keys["read"], "GET", f"/v1/memory?namespace={name}").json() for name in (OTHER, "not-there")
    ]
    assert len({answer.pop("request_id") for answer in answers}) == 2
    assert answers[0] == answers[1]


def test_lists_show_only_what_the_key_covers(guarded, keys):
    namespaces = guarded.call(keys["read"], "GET", "/v1/namespaces").json()["namespaces"]
    assert {each["name"] for each in namespaces} == {OWN}
    jobs = guarded.call(keys["read"], "GET", "/v1/jobs").json()["jobs"]
    assert {job["namespace"] for job in jobs} == {OWN}


def test_metrics_of_every_namespace_are_for_keys_that_cover_them(guarded, keys):
    answer = guarded.call(keys["read"], "GET", "/metrics")
    assert (answer.status_code, answer.json()["code"]) == (403, "namespace_forbidden")
    assert guarded.call(guarded.key("--scope", "read"), "GET", "/metrics").status_code == 200


def test_pages_tell_nothing_of_what_the_key_does_not_cover(guarded, keys):
    """The newest jobs and deletions are of another namespace: they take no place."""
    for listed in ("jobs", "deletions"):
        assert len(guarded.call(keys["read"], "GET", f"/v1/{listed}?limit=1").json()[listed]) == 1


def test_receipts_of_deleted_namespaces_are_for_administrators(guarded, keys):
    for name in ("team-doomed", "secret-doomed"):
        assert guarded.call(guarded.admin, "PUT", f"/v1/namespaces/{name}").status_code == 200
    doomed = {
        name: guarded.call(guarded.admin, "DELETE", f"/v1/namespaces/{name}").headers["Ostraka-Deletion"]
        for name in ("team-doomed", "secret-doomed")
    }
    team = guarded.key("--scope", "read,admin", "--namespace", "team-*")

    def status(key, name) -> int:
        return guarded.call(key, "GET", f"/v1/deletions/{doomed[name]}").status_code

    assert [status(key, "team-doomed") for key in (guarded.admin, team, keys["read"])] == [200, 200, 404]

    def listed(key) -> set[str]:
        page = guarded.call(key, "GET", "/v1/deletions").json()
        return {each["id"] for each in page["deletions"]}

    assert listed(guarded.admin) == {*guarded.deletions.values(), *doomed.values()}
    assert listed(team) == listed(keys["read"]) == {guarded.deletions[OWN]}


def test_waiting_for_a_job_of_another_namespace_is_refused(guarded, keys, job_of):
    body = {"namespace": OWN, "query": "x", "after_job": job_of(OTHER)}
    answer = guarded.call(keys["read"], "POST", "/v1/memory/search", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_key_works_in_both_headers(guarded, keys):
    for headers in ({"Authorization": f"bearer {keys['read']}"}, {"x-api-key": keys["read"]}):
        answer = guarded.server.client.get("/v1/whoami", headers=headers)
        assert answer.json()["scopes"] == ["read"]
        assert answer.json()["namespaces"] == ["team-*"]
        assert answer.json()["key_id"].startswith("key_")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer nonsense"},
        {"x-api-key": "nonsense"},
        {"x-api-key": ""},
        {"x-api-key": "ostraka_key_x.y"},
        {"x-api-key": b"\xff\xfe"},
    ],
)
def test_a_wrong_credential_is_refused(guarded, headers):
    answer = guarded.server.client.get("/v1/whoami", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_a_key_with_one_character_changed_is_refused(guarded, keys):
    key = keys["read"]
    changed = key[:-1] + ("a" if key[-1] != "a" else "b")
    for wrong in (changed, key[:-1], key + "a", key.upper(), key.removeprefix("ostraka_")):
        assert guarded.call(wrong, "GET", "/v1/whoami").status_code == 401


def test_a_revoked_key_stops_working(guarded):
    key = guarded.key("--scope", "read")
    key_id = guarded.call(key, "GET", "/v1/whoami").json()["key_id"]
    assert run_here(guarded.server.folder, "keys", "revoke", key_id)[0] == 0
    eventually(lambda: guarded.call(key, "GET", "/v1/whoami").status_code == 401, within_s=5)
    status, _, err = run_here(guarded.server.folder, "keys", "revoke", key_id)
    assert (status, "revoked already" in err) == (2, True)


def test_an_expired_key_is_refused(guarded):
    body = {"scopes": ["read"], "namespaces": ["*"], "expires_in_s": 1}
    key = guarded.call(guarded.admin, "POST", "/admin/keys", json=body).json()["key"]
    eventually(lambda: guarded.call(key, "GET", "/v1/whoami").status_code == 401, within_s=10)


def test_the_command_prints_the_key_alone_on_its_line_and_lists_no_secret(guarded):
    status, out, _ = run_here(guarded.server.folder, "keys", "create", "--expires", "90d")
    assert (status, len(out.splitlines())) == (0, 1)
    assert out.strip().startswith("ostraka_key_")
    secret = out.strip().partition(".")[2]
    status, listed, _ = run_here(guarded.server.folder, "keys", "list")
    assert status == 0
    assert secret not in listed
    assert out.strip().removeprefix("ostraka_").partition(".")[0] in listed


@pytest.mark.parametrize(
    "flags", [("--scope", "root"), ("--scope", ""), ("--company", "nobody"), ("--expires", "soon"), ("--expires", "0d")]
)
def test_an_impossible_key_is_refused(guarded, flags):
    status, out, err = run_here(guarded.server.folder, "keys", "create", *flags)
    assert (status, out) == (2, "")
    assert err.startswith("ostraka: ")


def test_companies_are_apart(guarded):
    assert run_here(guarded.server.folder, "companies", "create", "rival")[0] == 0
    key = guarded.key("--company", "rival", "--scope", "read,write,admin")
    assert guarded.call(key, "GET", "/v1/namespaces").json() == {"namespaces": []}
    assert guarded.call(key, "GET", f"/v1/memory?namespace={OWN}").status_code == 404
    body = {"namespace": OWN, "content": "theirs", "id": "theirs"}
    assert guarded.call(key, "POST", "/v1/memory?wait=true", json=body).status_code == 201
    listed = guarded.call(key, "GET", f"/v1/memory?namespace={OWN}").json()["memories"]
    assert [memory["id"] for memory in listed] == ["theirs"]
    search = {"namespace": OWN, "query": "theirs", "mode": "text"}
    assert guarded.call(guarded.admin, "POST", "/v1/memory/search", json=search).json()["results"] == []
