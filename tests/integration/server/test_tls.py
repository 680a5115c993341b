"""TLS without a proxy: real certificates, renewed under a running server."""

import json
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from lone_api import LoneApi

from tests.integration.certificates import Authority
from tests.integration.processes import eventually, run_command


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def files(folder) -> tuple[Path, Path]:
    """The links that the settings name, as certbot makes them."""
    return folder / "fullchain.pem", folder / "privkey.pem"


@pytest.fixture(scope="module")
def api(folder, authority, files) -> Iterator[LoneApi]:
    put(files, authority.issue("first"))
    api = LoneApi(folder, OSTRAKA_SERVER__TLS_CERT=str(files[0]), OSTRAKA_SERVER__TLS_KEY=str(files[1]))
    try:
        yield api.start()
        api.stop()
    finally:
        api.discard()


@pytest.fixture
def trusting(authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.ca))


def put(links: tuple[Path, Path], targets: tuple[Path, Path]) -> None:
    """Make the links lead to other files, each in one step."""
    for link, target in zip(links, targets, strict=True):
        new = link.with_suffix(".new")
        new.symlink_to(target)
        new.replace(link)


def connect(api: LoneApi, context: ssl.SSLContext) -> ssl.SSLSocket:
    where = urlsplit(str(api.client.base_url))
    plain = socket.create_connection((where.hostname, where.port), timeout=60)
    return context.wrap_socket(plain, server_hostname=where.hostname)


def presented(api: LoneApi, context: ssl.SSLContext) -> str:
    with connect(api, context) as connection:
        [[(_, name)]] = connection.getpeercert()["subject"]
        return name


def logged(api: LoneApi, event: str) -> list[dict]:
    lines = [line for line in api.log.read_text().splitlines() if line.startswith("{")]
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]


def test_the_server_speaks_tls_and_says_for_how_long(api, trusting):
    with httpx.Client(base_url=api.client.base_url, verify=trusting) as client:
        answer = client.get("/health/live")
    assert answer.status_code == 200
    assert answer.url.scheme == "https"
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert "set-cookie" not in answer.headers
    assert "server" not in answer.headers


def test_who_does_not_trust_the_authority_is_not_fooled(api):
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(api, ssl.create_default_context())


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
def test_an_old_protocol_is_refused(api, trusting):
    trusting.minimum_version = ssl.TLSVersion.TLSv1
    trusting.set_ciphers("ALL:@SECLEVEL=0")  # so that it is the server who refuses
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    connect(api, trusting).close()
    trusting.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        connect(api, trusting)


def test_plain_http_gets_no_answer(api):
    with pytest.raises(httpx.TransportError), httpx.Client() as client:
        client.get(str(api.client.base_url).replace("https", "http") + "/health/live")


def test_a_renewal_reaches_new_connections_and_drops_no_open_one(api, authority, files, trusting):
    put(files, authority.issue("before"))
    eventually(lambda: presented(api, trusting) == "before")
    body = b'{"namespace": "notes", "content": "written through a renewal"}'
    with connect(api, trusting) as slow:
        slow.sendall(b"POST /v1/memory HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        slow.sendall(b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body[:10]))
        put(files, authority.issue("after"))
        eventually(lambda: presented(api, trusting) == "after")
        slow.sendall(body[10:])
        assert slow.recv(65_536).startswith(b"HTTP/1.1 202 ")


def test_half_a_renewal_keeps_the_old_certificate(api, authority, files, trusting):
    put(files, authority.issue("whole"))
    eventually(lambda: presented(api, trusting) == "whole")
    cert, key = authority.issue("half")
    kept = len(logged(api, "certificate_kept"))
    files[0].unlink()
    eventually(lambda: len(logged(api, "certificate_kept")) > kept)
    assert presented(api, trusting) == "whole"
    files[0].symlink_to(cert)  # the new certificate with the old key
    eventually(lambda: len(logged(api, "certificate_kept")) > kept + 1)
    assert presented(api, trusting) == "whole"
    put(files, (cert, key))
    eventually(lambda: presented(api, trusting) == "half")


def test_a_hangup_makes_the_server_look_again(api, authority, files):
    loaded = len(logged(api, "certificate_loaded"))
    os.kill(api.pid, signal.SIGHUP)
    eventually(lambda: len(logged(api, "certificate_loaded")) > loaded)


def test_a_pair_that_cannot_be_used_stops_the_start(tmp_path, authority):
    given = {"TLS_CERT": authority.issue("one")[0], "TLS_KEY": authority.issue("other")[1]}
    environment = {f"OSTRAKA_SERVER__{name}": str(path) for name, path in given.items()}
    environment["OSTRAKA_QUEUE__REDIS_URL"] = "redis://127.0.0.1:1"
    status, _, said = run_command(tmp_path, "api", "--port", "0", environment=environment)
    assert status == 2
    assert "[server] tls_key" in said
