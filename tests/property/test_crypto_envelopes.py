"""Whatever is done to a sealed value, or to its address, it does not open; untouched, it does."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.crypto.envelope import Sealer, address
from core.crypto.keys import CompanyKey, MasterKey, NamespaceKey, wrap_company_key, wrap_namespace_key
from core.errors import IntegrityError, WrongKey

keys = st.binary(min_size=32, max_size=32)
secrets = st.binary(min_size=64, max_size=64)
versions = st.integers(0, 2**32 - 1)
parts = st.lists(st.text(max_size=6) | st.integers(-(2**63), 2**63), max_size=5)
names = st.text(max_size=8)
plaintexts = st.binary(max_size=200)


@given(keys, versions, plaintexts, parts)
def test_sealing_and_opening_are_inverse(key, version, plaintext, where):
    sealer = Sealer(key, version)
    assert sealer.open(sealer.seal(plaintext, address(*where)), address(*where)) == plaintext


@given(parts, parts)
def test_two_addresses_are_equal_only_part_by_part(one, two):
    assert (address(*one) == address(*two)) == ([str(part) for part in one] == [str(part) for part in two])


@given(keys, versions, plaintexts, parts, st.data())
def test_no_edit_of_an_envelope_opens(key, version, plaintext, where, data):
    sealer = Sealer(key, version)
    envelope = sealer.seal(plaintext, address(*where))
    start = data.draw(st.integers(0, len(envelope)))
    stop = data.draw(st.integers(start, len(envelope)))
    edited = envelope[:start] + data.draw(st.binary(max_size=40)) + envelope[stop:]
    assume(edited != envelope)
    with pytest.raises(IntegrityError):
        sealer.open(edited, address(*where))


@given(keys, plaintexts, parts, parts)
def test_no_envelope_opens_elsewhere(key, plaintext, here, there):
    assume(address(*here) != address(*there))
    sealer = Sealer(key, 1)
    with pytest.raises(IntegrityError):
        sealer.open(sealer.seal(plaintext, address(*here)), address(*there))


@given(keys, keys, versions, versions, plaintexts)
def test_no_other_key_or_version_opens(key, other, version, named, plaintext):
    assume((key, version) != (other, named))
    with pytest.raises(IntegrityError) as refused:
        Sealer(other, named).open(Sealer(key, version).seal(plaintext, b""), b"")
    assert isinstance(refused.value, WrongKey) == (version != named)


places = st.tuples(names, names, names, st.integers(0, 2**63 - 1), names)


@given(secrets, places, places)
def test_a_row_moved_anywhere_does_not_open(secret, here, there):
    """Company, namespace, table, row, column: each alone binds, also where their texts join up the same."""
    assume(here != there)
    sealed = NamespaceKey(here[0], here[1], 1, secret).seal_row(b"ours", *here[2:])
    with pytest.raises(IntegrityError):
        NamespaceKey(there[0], there[1], 1, secret).open_row(sealed, *there[2:])


@given(keys, names, versions, st.binary(max_size=300))
def test_noise_is_never_a_wrapped_key(key, name, version, noise):
    with pytest.raises(IntegrityError):
        MasterKey(key).open(noise, "company-key", name, version)


@given(keys, secrets)
def test_a_wrapped_key_shows_nothing_of_the_secret(key, secret):
    assume(len(set(secret)) > 8)
    wrapped = wrap_company_key(MasterKey(key), "co_a", 1, secret)
    twice = wrap_namespace_key(CompanyKey("co_a", 1, secret), "ns_a", 1, secret)
    for start in range(0, 64, 8):
        assert secret[start : start + 8] not in wrapped
        assert secret[start : start + 8] not in twice
