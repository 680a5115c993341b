"""Every memory that is accepted comes back from its sealed bytes as it was."""

from contextlib import suppress
from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.memory import NewMemory, Stored

text = st.text(min_size=1, max_size=20)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False) | st.text(max_size=9)
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=12
)
moments = st.datetimes(
    min_value=datetime(1, 1, 3),  # noqa: DTZ001 - the strategy adds the zone
    max_value=datetime(9999, 12, 28),  # noqa: DTZ001
    timezones=st.integers(-1_439, 1_439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
requests = st.fixed_dictionaries(
    {"content": text},
    optional={
        "metadata": st.dictionaries(text, trees, max_size=5),
        "session": text,
        "tags": st.lists(text, max_size=5),
        "importance": st.floats(0, 1),
        "occurred_at": moments.map(datetime.isoformat),
    },
)


@given(requests)
def test_an_accepted_memory_survives_its_bytes(request):
    try:
        memory = NewMemory.model_validate(request)
    except ValidationError:
        return  # refused: nothing is stored
    stored = Stored.of(memory, "mem_a")
    back = Stored.from_bytes(stored.to_bytes())
    assert back == stored
    assert back.occurred_at == memory.occurred_at
    if "occurred_at" in request:
        assert back.occurred_at == datetime.fromisoformat(request["occurred_at"])


anything = st.recursive(
    scalars | st.integers() | st.floats() | st.binary(max_size=3) | st.text("a\ud800", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a\ud800", max_size=2), inner, max_size=2),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=5), anything, max_size=4))
def test_whatever_is_sent_is_accepted_or_explained(metadata):
    """Nothing but a ``ValidationError``: any other exception would be the server's fault."""
    with suppress(ValidationError):
        NewMemory.model_validate({"content": "x", "metadata": metadata})
