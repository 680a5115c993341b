"""The table from the core's errors to HTTP: complete, children before parents, nothing of the input in a fault."""

import json

import pytest
from pydantic import BaseModel, ValidationError

from api.problems import STATUS, documented, faults_of, problem
from core import errors


def all_errors(root=errors.OstrakaError):
    yield root
    for child in root.__subclasses__():
        yield from all_errors(child)


# What only workers and the command line can meet; a request that still does is a fault of the server.
INTERNAL = {errors.ConfigurationError, errors.OstrakaError, errors.IntegrityError, errors.WrongKey}


@pytest.mark.parametrize("kind", [kind for kind in all_errors() if kind.__module__ == "core.errors"])
def test_every_error_has_a_status(kind):
    status = next(status for each, status in STATUS if issubclass(kind, each))
    assert (status == 500) == (kind in INTERNAL)


def test_children_come_before_their_parents():
    kinds = [kind for kind, _ in STATUS]
    for place, kind in enumerate(kinds):
        assert not any(issubclass(later, kind) for later in kinds[place + 1 :])


def test_codes_are_distinct():
    codes = [kind.code for kind in all_errors() if kind.__module__ == "core.errors"]
    assert len(codes) == len(set(codes))


def test_a_problem_is_an_rfc_9457_document():
    response = problem(409, "conflict", "read again", [{"field": "id", "detail": "moved"}], {"Retry-After": "1"})
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "1"
    body = json.loads(response.body)
    assert body == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "code": "conflict",
        "detail": "read again",
        "errors": [{"field": "id", "detail": "moved"}],
    }


class Sample(BaseModel):
    query: int
    body: dict[str, int]


def test_a_fault_names_fields_even_those_called_like_a_source():
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate({"query": "SECRET", "body": {"path": "SECRET"}})
    faults = faults_of(caught.value.errors())
    assert "SECRET" not in str(faults)
    assert faults[0]["field"] == "query"
    assert faults[1]["field"].endswith("path")


def test_every_route_documents_the_problems_that_any_may_answer():
    assert set(documented(404)) >= {400, 401, 403, 404, 413, 422, 429, 500, 503}


def test_a_problem_is_bounded_however_long_the_names_in_it():
    name = "n" * 1_000_000
    response = problem(422, "invalid_input", f"{name}: is unknown", [{"field": name, "detail": name}] * 20)
    assert len(response.body) < 20_000
