"""Keyrings: every envelope opens with exactly the version that sealed it, and a key's trouble is never a row's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.crypto.keyring import NamespaceKeys
from core.crypto.keys import NamespaceKey, new_secret, next_secret
from core.errors import IntegrityError, KeyUnusable, NotFound, Unavailable, WrongKey

FIRST = new_secret()


def versions(count: int, first: int = 1) -> dict[int, NamespaceKey]:
    secrets = [FIRST]
    while len(secrets) < count:
        secrets.append(next_secret(secrets[-1]))
    return {first + place: NamespaceKey("co_a", "ns_a", first + place, secret) for place, secret in enumerate(secrets)}


def ring(known: dict[int, NamespaceKey], stored: object = None) -> NamespaceKeys:
    def load() -> dict[int, NamespaceKey]:
        if isinstance(stored, Exception):
            raise stored
        return stored or known  # type: ignore[return-value]

    return NamespaceKeys(known, load)


@given(st.integers(1, 6), st.lists(st.tuples(st.integers(1, 6), st.binary(max_size=40)), max_size=20))
def test_an_envelope_of_any_version_opens_with_exactly_its_key(count, texts):
    keys = versions(count)
    opened = ring(keys)
    for number, text in texts:
        version = min(number, count)
        sealed = keys[version].seal_row(text, "memories", 1, "content")
        assert opened.open_row(sealed, "memories", 1, "content") == text
        for other in keys.keys() - {version}:
            with pytest.raises(WrongKey):
                keys[other].open_row(sealed, "memories", 1, "content")
            relabelled = sealed[:1] + other.to_bytes(4) + sealed[5:]
            with pytest.raises(IntegrityError):
                opened.open_row(relabelled, "memories", 1, "content")


@given(st.integers(1, 6))
def test_the_newest_version_seals_and_all_make_the_same_handles(count):
    keys = versions(count)
    opened = ring(keys)
    sealed = opened.seal_row(b"text", "memories", 1, "content")
    assert keys[count].open_row(sealed, "memories", 1, "content") == b"text"
    assert {key.handle("memory", "a") for key in keys.values()} == {opened.handle("memory", "a")}


@given(st.integers(1, 4), st.integers(1, 4))
def test_a_version_that_is_new_in_the_store_is_fetched(before, more):
    keys = versions(before + more)
    opened = ring({number: keys[number] for number in range(1, before + 1)}, keys)
    sealed = keys[before + more].seal_row(b"text", "memories", 1, "content")
    assert opened.open_row(sealed, "memories", 1, "content") == b"text"
    assert opened.version == before + more


@given(st.integers(1, 4))
def test_a_version_that_was_erased_still_opens_what_was_read_before(erased):
    keys = versions(erased + 1)
    opened = ring(keys, {erased + 1: keys[erased + 1]})
    sealed = keys[1].seal_row(b"text", "memories", 1, "content")
    opened.refresh()
    assert opened.open_row(sealed, "memories", 1, "content") == b"text"


def test_a_version_that_never_was_is_the_rows_fault():
    sealed = versions(3)[3].seal_row(b"text", "memories", 1, "content")
    with pytest.raises(WrongKey):
        ring(versions(2)).open_row(sealed, "memories", 1, "content")


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (IntegrityError("the wrapped key was changed"), KeyUnusable),
        (Unavailable("the store is away"), Unavailable),
        (NotFound("the namespace was deleted"), NotFound),
    ],
    ids=["damaged", "away", "deleted"],
)
def test_a_key_that_cannot_be_fetched_is_not_the_rows_fault(trouble, expected):
    sealed = versions(2)[2].seal_row(b"text", "memories", 1, "content")
    opened = ring(versions(1), trouble)
    with pytest.raises(expected) as raised:
        opened.open_row(sealed, "memories", 1, "content")
    assert not isinstance(raised.value, IntegrityError)
    with pytest.raises(expected):
        opened.at_least(2)
    assert opened.version == 1


def test_versions_that_do_not_belong_together_are_refused():
    with pytest.raises(IntegrityError, match="handle key"):
        ring({1: NamespaceKey("co_a", "ns_a", 1, bytes(64)), 2: NamespaceKey("co_a", "ns_a", 2, bytes(63) + b"x")})
    with pytest.raises(IntegrityError, match="missing"):
        ring({})
