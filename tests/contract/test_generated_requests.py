"""Requests made from the contract, valid and invalid: the server answers as the contract says, and never fails."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.stores import BOTH

RECORD_STORES = BOTH
EXAMPLES = {"sqlite": 12, "postgres": 4}  # of each operation and mode
# Names without control characters, text that is not blank, a filter's grammar: rules that no JSON Schema says.
BEYOND_SCHEMAS = [positive_data_acceptance]
LENIENT = {
    "POST /v1/memory/bulk": [negative_data_rejection],  # a bad line is rejected, the others are kept
    "DELETE /v1/memory": [negative_data_rejection],  # `tags=false` in a URL is a list of one text
}


def conformance(operation: Any, mode: GenerationMode, key: str, examples: int) -> Callable[[], None]:
    """Return the test of one operation: every check of schemathesis on so many fixed examples."""
    excluded = [*BEYOND_SCHEMAS, *LENIENT.get(operation.label, [])]

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        case.call_and_validate(headers={"x-api-key": key}, excluded_checks=excluded)

    return check


def can_be_wrong(operation: Any) -> bool:
    """Whether there are invalid requests: any text at all is the name of something in a path."""
    schemas = [parameter.definition["schema"] for parameter in operation.iter_parameters()]
    return bool(operation.body) or any(schema.keys() - {"type", "title"} for schema in schemas)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_in_the_contract(server, contract, subtests, mode, record_store):
    key, examples = server.client.headers["x-api-key"], EXAMPLES[record_store]
    for result in contract.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and not can_be_wrong(operation):
            continue
        with subtests.test(operation=operation.label):
            conformance(operation, mode, key, examples)()
        server.client.post("/admin/unfreeze", json={})  # one of them freezes the server
