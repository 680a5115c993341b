"""A key that was made by another never does what the other may not."""

from dataclasses import replace

from hypothesis import assume, event, given
from hypothesis import strategies as st

from core.errors import Forbidden
from core.records.grants import SCOPES, Grant, Principal, require_within

HOUR = 3_600_000_000
PATTERNS = ["*", "team-*", "team-a", "t*", "secret-?", "[st]*"]
NAMES = ["team-a", "team-b", "team-", "t", "secret-b", "Team-a", "*", ""]
some_scopes = st.lists(st.sampled_from(SCOPES), unique=True)
some_patterns = st.lists(st.sampled_from(PATTERNS), unique=True)
ends = st.none() | st.integers(0, 3).map(lambda hours: hours * HOUR)
rates = st.none() | st.sampled_from([0.5, 1.0, 50.0])
grants = st.builds(Grant, st.sampled_from(["a", "b"]), some_scopes, some_patterns, ends, st.none(), rates)
parts = st.lists(st.integers(0, 4), max_size=2)


@st.composite
def minters_and_grants(draw):
    """Two grants that differ in few ways: two at random would hardly ever be one within the other."""
    minter, other = draw(grants), draw(grants)
    names = ("company_id", "scopes", "patterns", "expires_at", "requests_per_s")
    return minter, replace(minter, **{names[part]: getattr(other, names[part]) for part in draw(parts)})


@given(pair=minters_and_grants(), default=rates, now=st.integers(0, 3).map(lambda hours: hours * HOUR))
def test_a_minted_key_never_exceeds_its_minter(pair, default, now):
    minter, made = pair
    holder = Principal(
        minter.company_id,
        "key",
        frozenset(minter.scopes),
        tuple(minter.patterns),
        minter.expires_at,
        minter.requests_per_s,
    )
    try:
        require_within(holder, made, default)
    except Forbidden:
        event("refused")
        return
    event("made")
    bearer = Principal(made.company_id, "made", frozenset(made.scopes), tuple(made.patterns))
    assert made.company_id == minter.company_id
    assert bearer.scopes <= holder.scopes
    assert [name for name in NAMES if bearer.covers(name) and not holder.covers(name)] == []
    assert minter.holds(now) or not made.holds(now)
    bounds = [rate if rate is not None else default for rate in (made.requests_per_s, minter.requests_per_s)]
    assert bounds[1] is None or (bounds[0] is not None and bounds[0] <= bounds[1])


@given(grants)
def test_what_a_key_holds_may_be_handed_on(grant):
    holder = Principal(
        grant.company_id, "key", frozenset(grant.scopes), tuple(grant.patterns), grant.expires_at, grant.requests_per_s
    )
    require_within(holder, grant, None)


@given(grants)
def test_no_scope_and_no_pattern_mean_nothing(grant):
    assume(not grant.patterns)
    assert not any(Principal("a", "key", frozenset(), tuple(grant.patterns)).covers(name) for name in NAMES)


@given(grants)
def test_a_grant_is_what_was_sealed(grant):
    assert Grant.from_bytes(grant.to_bytes()) == grant
