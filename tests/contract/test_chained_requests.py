"""Requests that follow the contract's links: what one answer names, the next request asks for, changes or deletes."""

import unicodedata
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance, unsupported_method

CHAINS = 30
STEPS = 8
SEARCHES_MAX = 10
# Of single requests: test_generated_requests.py judges them.
ELSEWHERE = [positive_data_acceptance, unsupported_method]


def tidy(value: Any) -> Any:
    """Return a value with texts that may be names, so that chains do not end at their first request."""
    if isinstance(value, dict):
        return {tidy(key): tidy(each) for key, each in value.items()}
    if isinstance(value, list):
        return [tidy(each) for each in value]
    if isinstance(value, str):
        kept = "".join(character for character in value if unicodedata.category(character)[0] not in "CZ")
        return unicodedata.normalize("NFC", kept) or "x"
    return value


@pytest.fixture
def machine(server):
    """The state machine of the contract's links; how often which answer followed upon which request; what was wrong."""
    answered: Counter[tuple[str, str, int]] = Counter()
    faults: list[BaseException] = []
    contract = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    contract.config.generation.update(modes=[GenerationMode.POSITIVE])
    memories = contract.include(path_regex="^/v1/(memory|jobs|namespaces|deletions)")

    class Machine(memories.as_state_machine()):
        def before_call(self, case):
            if isinstance(case.body, dict | list):
                case.body = tidy(case.body)

        def get_call_kwargs(self, case):  # noqa: ARG002 - the signature is the library's
            return {"headers": {"x-api-key": server.client.headers["x-api-key"]}}

        def after_call(self, response, case):
            super().after_call(response, case)
            parent = self.recorder.find_parent(case_id=case.id)
            answered[parent.operation.label if parent else "", case.operation.label, response.status_code] += 1
            if response.status_code >= 500:
                faults.append(AssertionError(case.operation.label, response.text))

        def validate_response(self, response, case, additional_checks=None, **call):
            try:
                case.validate_response(
                    response,
                    additional_checks=additional_checks,
                    excluded_checks=ELSEWHERE,
                    transport_kwargs=call,
                    recorder=self.recorder,
                )
            except BaseException as error:
                faults.append(error)
                raise

    return Machine, answered, faults


def test_chains_of_requests_keep_the_contract(machine):
    tested, answered, faults = machine
    # What a chain can go on with depends on what earlier ones left and on how far the worker is. Where the same
    # choices lead elsewhere, Hypothesis ends its search: every chain so far was judged, and another search begins.
    for _ in range(SEARCHES_MAX):
        with suppress(FlakyStrategyDefinition):
            tested.run(
                settings=settings(
                    max_examples=CHAINS,
                    stateful_step_count=STEPS,
                    deadline=None,
                    derandomize=True,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
            )
            break
    assert faults == []
    assert sum(answered.values()) >= CHAINS
    followed = {before for before, _, status in answered if before and status < 300}
    assert "POST /v1/memory" in followed
