import pytest

from core.crypto.envelope import OVERHEAD_BYTES, Sealer, address, derive
from core.errors import IntegrityError, WrongKey

KEY, OTHER = bytes(range(32)), bytes(32)
HERE = address("row", "co_a", "ns_a", "memories", 7, "content")


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(KEY, 3)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 16_383, 16_384, 16_385, 100_000])
def test_opens_what_it_sealed(sealer, size):
    plaintext = bytes(size)
    envelope = sealer.seal(plaintext, HERE)
    assert len(envelope) == size + OVERHEAD_BYTES
    assert sealer.open(envelope, HERE) == plaintext


def test_the_plaintext_is_not_in_the_envelope(sealer):
    assert b"a secret of the agent" not in sealer.seal(b"a secret of the agent" * 40, HERE)


def test_equal_values_never_look_equal(sealer):
    assert len({sealer.seal(b"the same", HERE) for _ in range(1_000)}) == 1_000


def test_every_flipped_bit_is_refused(sealer):
    envelope = sealer.seal(b"what we know about this", HERE)
    for position in range(len(envelope)):
        for bit in range(8):
            changed = bytearray(envelope)
            changed[position] ^= 1 << bit
            expected = WrongKey if 1 <= position < 5 else IntegrityError
            with pytest.raises(expected) as refused:
                sealer.open(bytes(changed), HERE)
            assert type(refused.value) is expected


def test_every_truncation_is_refused(sealer):
    envelope = sealer.seal(b"what we know about this", HERE)
    for length in range(len(envelope)):
        with pytest.raises(IntegrityError) as front:
            sealer.open(envelope[:length], HERE)
        assert type(front.value) is IntegrityError
        with pytest.raises(IntegrityError):
            sealer.open(envelope[len(envelope) - length :], HERE)


def test_every_appended_byte_is_refused(sealer):
    envelope = sealer.seal(b"what we know about this", HERE)
    for extra in range(256):
        with pytest.raises(IntegrityError):
            sealer.open(envelope + bytes([extra]), HERE)
        with pytest.raises(IntegrityError):
            sealer.open(bytes([extra]) + envelope, HERE)


def test_two_envelopes_cannot_be_spliced(sealer):
    one, two = sealer.seal(b"balance: 100", HERE), sealer.seal(b"balance: 999", HERE)
    for cut in range(1, len(one)):
        if one[:cut] != two[:cut]:
            with pytest.raises(IntegrityError):
                sealer.open(one[:cut] + two[cut:], HERE)


def test_another_key_is_refused(sealer):
    with pytest.raises(IntegrityError) as refused:
        Sealer(OTHER, 3).open(sealer.seal(b"x", HERE), HERE)
    assert "another key" in refused.value.message


def test_another_key_version_is_named_as_such(sealer):
    envelope = sealer.seal(b"x", HERE)
    with pytest.raises(WrongKey):
        Sealer(KEY, 4).open(envelope, HERE)


def test_addresses_are_unambiguous():
    assert address("ab", "c") != address("a", "bc") != address("abc")
    assert address("a", "") != address("", "a") != address("a")
    assert address() == b""
    assert address("é") == b"\0\0\0\2\xc3\xa9"


def test_derivation_is_fixed_by_the_format():
    assert derive(bytes(32), "ostraka/master/id/v1") == derive(bytes(32), "ostraka/master/id/v1")
    assert derive(bytes(32), "a") != derive(bytes(32), "b") != derive(KEY, "b")
    # RFC 5869 with SHA-256, an empty salt and the purpose as info, worked out with hmac alone
    import hashlib
    import hmac

    extracted = hmac.digest(bytes(32), KEY, hashlib.sha256)
    assert derive(KEY, "rows") == hmac.digest(extracted, b"rows\x01", hashlib.sha256)


def test_a_golden_envelope_still_opens():
    golden = bytes.fromhex(GOLDEN)
    assert Sealer(KEY, 3).open(golden, HERE) == b"what we know about this"


def test_a_key_never_shows_in_a_representation(sealer):
    assert KEY.hex() not in repr(sealer)
    assert repr(KEY) not in repr(sealer)


# Sealed by version 1 of the format, kept for ever: data written then must open now.
GOLDEN = (
    "0100000003c61f622353798239d4a5478b1099e879c3fb444d382c69c3fb6ed06441cdd22deaf047e99a4828a52b254ef624acb4dec8db63"
)
