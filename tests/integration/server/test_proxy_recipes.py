"""The proxies of docs/tls.md, run for real from the configurations that the page offers."""

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.certificates import Authority
from tests.integration.processes import END_S, ROOT, eventually, free_port, private_environment, run_command
from tests.integration.recipes import adapted
from tests.integration.server.lone_api import LoneApi
from tests.programs import program

RECIPES = ROOT / "compose" / "proxy"


def nginx(folder: Path, upstream: str, port: int, cert: Path, key: Path) -> list[str]:
    text = (RECIPES / "nginx.conf").read_text()
    changes = {
        "127.0.0.1:3300": upstream,
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "listen 80": f"listen 127.0.0.1:{free_port()}",
        "/etc/nginx/tls/fullchain.pem": str(cert),
        "/etc/nginx/tls/privkey.pem": str(key),
        "http {": "http {\n"
        + "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ),
    }
    (folder / "nginx.conf").write_text(adapted(text, changes))
    directives = f"daemon off; error_log stderr; pid {folder}/nginx.pid;"
    return [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", directives]


def caddy(folder: Path, upstream: str, port: int, cert: Path, key: Path) -> list[str]:
    text = (RECIPES / "Caddyfile").read_text()
    changes = {
        "127.0.0.1:3300": upstream,
        "ostraka.example {": f"https://localhost:{port}, https://127.0.0.1:{port} {{\n\ttls {cert} {key}",
        "\tservers {": "\tadmin off\n\tauto_https disable_redirects\n\tservers {",
    }
    (folder / "Caddyfile").write_text(adapted(text, changes))
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("proxied")


@pytest.fixture(scope="module")
def authority(folder) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def api_key(folder) -> str:
    status, key, said = run_command(folder, "keys", "create", "--company", "default", "--scope", "read,write")
    assert status == 0, said
    return key.strip()


@pytest.fixture(scope="module")
def api(folder, api_key) -> Iterator[LoneApi]:
    """A server that trusts this machine's proxies, and takes one wrong key a minute from an address."""
    proxied = {"OSTRAKA_SERVER__TRUSTED_PROXIES": '["127.0.0.1"]', "OSTRAKA_AUTH__FAILURES_PER_MINUTE": "1"}
    api = LoneApi(folder, **proxied)
    try:
        yield api.start()
        api.stop()
    finally:
        api.discard()


@pytest.fixture(scope="module", params=[nginx, caddy], ids=lambda proxy: proxy.__name__)
def proxied(request, folder, authority, api) -> Iterator[httpx.Client]:
    """A client of the proxy."""
    port, name = free_port(), request.param.__name__
    command = request.param(
        folder, f"{api.client.base_url.host}:{api.client.base_url.port}", port, *authority.issue(name)
    )
    trusting = ssl.create_default_context(cafile=str(authority.ca))
    environment = private_environment(folder) | {"XDG_DATA_HOME": str(folder), "HOME": str(folder)}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=trusting, timeout=60) as client:

            def answers() -> bool:
                assert process.poll() is None, (folder / f"{name}.log").read_text()
                try:
                    return client.get("/health/live").status_code == 200
                except httpx.TransportError:
                    return False

            eventually(answers)
            yield client
    finally:
        process.terminate()
        process.wait(END_S)


def test_calls_pass_through(proxied, api_key):
    memory = {"namespace": "notes", "content": "written through a proxy"}
    answer = proxied.post("/v1/memory", json=memory, headers={"x-api-key": api_key})
    assert answer.status_code == 202, answer.text
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert proxied.get("/v1/memory", params={"namespace": "notes"}).status_code == 401


def test_a_body_of_a_bulk_loads_size_passes_and_a_larger_one_is_refused(proxied, api_key):
    headers = {"x-api-key": api_key, "content-type": "application/x-ndjson"}
    blank = proxied.post("/v1/memory/bulk", content=b" " * (64 * 2**20), headers=headers)
    assert blank.json()["code"] == "nothing_accepted"
    assert proxied.post("/v1/memory/bulk", content=b" " * (64 * 2**20 + 1), headers=headers).status_code == 413


def wrong_key(client: httpx.Client, claimed: str) -> int:
    return client.get("/v1/whoami", headers={"x-api-key": "wrong", "x-forwarded-for": claimed}).status_code


def test_a_client_cannot_choose_the_address_that_its_wrong_keys_are_counted_for(proxied: Any):
    answers = {wrong_key(proxied, f"203.0.113.{number}") for number in range(5)}
    assert answers <= {401, 429}
    assert wrong_key(proxied, "203.0.113.99") == 429


def test_a_trusted_proxys_clients_are_counted_apart(api):
    assert wrong_key(api.client, "198.51.100.1") == 401
    assert wrong_key(api.client, "198.51.100.1") == 429
    assert wrong_key(api.client, "198.51.100.2") == 401


def test_behind_a_proxy_a_server_without_keys_does_not_start(tmp_path):
    environment = {
        "OSTRAKA_QUEUE__REDIS_URL": "redis://127.0.0.1:1",
        "OSTRAKA_SERVER__TRUSTED_PROXIES": '["127.0.0.1"]',
    }
    status, _, said = run_command(tmp_path, "api", "--port", "0", environment=environment)
    assert status == 2
    assert "[server] trusted_proxies" in said
