import pytest
from ostraka import (
    Conflict,
    Fault,
    InvalidRequest,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Ostraka,
    OstrakaError,
    Overloaded,
    ServerError,
)
from scripted_server import MEMORY, Reply, Script, problem

from api.problems import STATUS


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, InvalidRequest),
        (400, InvalidRequest),
        (401, NotAuthenticated),
        (403, NotAllowed),
        (404, NotFound),
        (409, Conflict),
        (413, InvalidRequest),
        (415, InvalidRequest),
        (422, InvalidRequest),
        (429, Overloaded),
        (500, ServerError),
        (503, ServerError),
    ],
)
def test_each_status_is_one_kind(script: Script, status: int, kind: type[OstrakaError]):
    faults = [{"field": "content", "detail": "blank"}]
    script.will(*[Reply(problem("some_code", errors=faults), status, {"Retry-After": "99"})] * 4)
    with Ostraka(script.url) as client, pytest.raises(OstrakaError) as caught:
        client.get("n", "mem_1")
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.detail) == (status, "some_code", "what is wrong")
    assert error.errors == (Fault("content", "blank"),)
    assert str(error) == "what is wrong (some_code)"


def test_every_status_of_the_server_is_more_than_the_root():
    from ostraka.errors import _KINDS

    assert {status for _, status in STATUS if status < 500} - {400, 413, 422} == set(_KINDS)


@pytest.mark.parametrize("body", [b"<html>gateway</html>", b"", b"[1]", b'{"errors": 5}', b'{"errors": ["x"]}'])
def test_an_error_that_is_no_problem_document(script: Script, body: bytes):
    script.will(Reply(body, 500))
    with Ostraka(script.url) as client, pytest.raises(ServerError) as caught:
        client.get("n", "mem_1")
    assert caught.value.code == "http"
    assert "500" in caught.value.detail
    assert caught.value.errors == ()


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b"null", b"{}", {**MEMORY, "created_at": None}, {**MEMORY, "created_at": "x"}],
)
def test_an_answer_that_no_server_gives(script: Script, body: object):
    script.will(Reply(body))
    with Ostraka(script.url) as client, pytest.raises(ServerError) as caught:
        client.get("n", "mem_1")
    assert caught.value.code == "not_understood"


@pytest.mark.parametrize("url", ["", "localhost:3300", "ftp://host", "http://", "/v1"])
def test_an_address_that_cannot_be(url: str):
    with pytest.raises(ValueError, match="url"):
        Ostraka(url)
