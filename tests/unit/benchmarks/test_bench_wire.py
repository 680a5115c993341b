import pytest

from benchmarks.wire import Client, parse_reply

_REPLY = b"HTTP/1.1 202 Accepted\r\nServer: x\r\nContent-Length: 11\r\n\r\n" + b'{"a": true}'


def test_a_reply_has_status_and_body() -> None:
    reply = parse_reply(_REPLY)
    assert reply is not None
    assert (reply.status, reply.json()) == (202, {"a": True})


@pytest.mark.parametrize("length", range(len(_REPLY)))
def test_a_reply_that_has_not_arrived_whole_is_none_yet(length: int) -> None:
    assert parse_reply(_REPLY[:length]) is None


def test_a_reply_without_a_length_has_no_body() -> None:
    reply = parse_reply(b"HTTP/1.1 204 No Content\r\nserver: x\r\n\r\n")
    assert reply is not None
    assert (reply.status, reply.body) == (204, b"")


def test_a_request_names_host_key_and_length() -> None:
    built = Client("127.0.0.1", 3300, "secret").build("POST", "/v1/memory", b"{}")
    head, _, body = built.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /v1/memory HTTP/1.1",
        b"host: 127.0.0.1:3300",
        b"authorization: Bearer secret",
        b"content-type: application/json",
        b"content-length: 2",
    ]
    assert body == b"{}"
