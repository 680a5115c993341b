"""Requests that follow the contract's links: what one answer names, the next request asks for, changes or deletes."""

import itertools
import unicodedata
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance, unsupported_method

from tests.conftest import SEED
from tests.stores import BOTH

RECORD_STORES = BOTH
CHAINS = {"sqlite": 30, "postgres": 10}
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
    """The state machine of the contract's links; how many chains it began, what followed upon what; what was wrong."""
    begun: Counter[str] = Counter()
    answered: Counter[tuple[str, str, int]] = Counter()
    faults: list[BaseException] = []
    keys = itertools.count()
    contract = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    contract.config.generation.update(modes=[GenerationMode.POSITIVE])
    memories = contract.include(path_regex="^/v1/(memory|jobs|namespaces|deletions)")

    class Machine(memories.as_state_machine()):
        def setup(self):
            begun["chains"] += 1

        def before_call(self, case):
            if isinstance(case.body, dict | list):
                case.body = tidy(case.body)
            if case.headers and "Idempotency-Key" in case.headers:  # else a chain that is run again repeats the first
                case.headers["Idempotency-Key"] = str(next(keys))

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

    return Machine, begun, answered, faults


def test_chains_of_requests_keep_the_contract(machine, record_store):
    tested, begun, answered, faults = machine
    # What a chain can go on with depends on what earlier ones left and on how far the worker is. Where the same
    # choices lead elsewhere, Hypothesis ends its search: every chain so far was judged, and another search begins.
    for number in range(SEARCHES_MAX):
        if (left := CHAINS[record_store] - begun.total()) <= 0:
            break
        with suppress(FlakyStrategyDefinition):
            seed(SEED + number)(tested).run(
                settings=settings(
                    max_examples=left,
                    stateful_step_count=STEPS,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
            )
    assert faults == []
    assert sum(answered.values()) >= CHAINS[record_store]
    followed = {before for before, _, status in answered if before and status < 300}
    assert "POST /v1/memory" in followed
