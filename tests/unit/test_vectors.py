"""Vectors that callers bring: both spellings, what is refused, and that a unit vector is not touched."""

import base64
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import InvalidInput
from core.vectors import DIM_MAX, GivenVector, VectorSpace

finite = st.floats(allow_nan=False, allow_infinity=False)
singles = st.floats(width=32, allow_nan=False, allow_infinity=False)


def embedding(vector):
    return GivenVector.model_validate({"fingerprint": "f", "vector": vector})


def numbers(vector):
    return np.frombuffer(embedding(vector).vector, "<f4")


def packed(values):
    return base64.b64encode(np.array(values, "<f4").tobytes()).decode()


@given(st.lists(singles, min_size=1, max_size=8).filter(any))
def test_a_list_and_base64_of_the_same_numbers_are_the_same_vector(values):
    assert embedding(values).vector == embedding(packed(values)).vector


@given(st.lists(finite, min_size=1, max_size=8).filter(any))
def test_every_direction_has_length_one_afterwards(values):
    assert math.isclose(float(np.linalg.norm(numbers(values).astype(np.float64))), 1, rel_tol=1e-6)


@given(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=8).filter(lambda values: sum(map(abs, values)) > 0.1))
def test_a_vector_of_length_one_is_left_as_it_is(values):
    unit = numbers(values)
    assert embedding(packed(unit)).vector == unit.tobytes()


@pytest.mark.parametrize(
    "vector",
    [
        [],
        "",
        [0.0, 0.0],
        [math.nan, 1.0],
        [math.inf, 1.0],
        [10**400, 1],
        ["1", 2],
        [True, 1],
        [[1.0], [2.0]],
        [1.0] * (DIM_MAX + 1),
        packed([1.0] * (DIM_MAX + 1)),
        packed([math.nan]),
        packed([math.inf, 1.0]),
        "AAAA",
        "*",
        "é",
        None,
        1.0,
        {"0": 1.0},
    ],
)
def test_what_is_no_vector_is_refused(vector):
    with pytest.raises(ValidationError):
        embedding(vector)


def test_only_vectors_of_the_space_are_let_in():
    space = VectorSpace("f", 2)
    space.check(None)
    space.check(embedding([1, 0]))
    with pytest.raises(InvalidInput) as refused:
        space.check(embedding([1, 0, 0]))
    assert refused.value.reason == "invalid_vector"
    with pytest.raises(InvalidInput) as refused:
        VectorSpace("g", 2).check(embedding([1, 0]))
    assert refused.value.reason == "fingerprint_mismatch"
