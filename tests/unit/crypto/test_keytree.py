import itertools

import pytest

from core.crypto.keys import (
    CompanyKey,
    MasterKey,
    NamespaceKey,
    new_secret,
    unwrap_company_key,
    unwrap_namespace_key,
    wrap_company_key,
    wrap_namespace_key,
)
from core.errors import IntegrityError, WrongKey

SECRET = bytes(range(64))
MASTER = MasterKey(bytes(range(32)))


@pytest.fixture
def company() -> CompanyKey:
    return CompanyKey("co_a", 1, SECRET)


@pytest.fixture
def namespace() -> NamespaceKey:
    return NamespaceKey("co_a", "ns_a", 1, SECRET)


def test_the_tree_unwraps_what_it_wrapped():
    company = unwrap_company_key(MASTER, "co_a", 1, wrap_company_key(MASTER, "co_a", 1, SECRET))
    assert company == CompanyKey("co_a", 1, SECRET)
    namespace = unwrap_namespace_key(company, "ns_a", 2, wrap_namespace_key(company, "ns_a", 2, SECRET))
    assert namespace == NamespaceKey("co_a", "ns_a", 2, SECRET)


@pytest.mark.parametrize(
    ("master", "company", "version"),
    [(MasterKey(bytes(32)), "co_a", 1), (MASTER, "co_b", 1), (MASTER, "co_a", 2)],
    ids=["another master key", "another company", "another version"],
)
def test_a_company_key_opens_only_in_its_place(master, company, version):
    wrapped = wrap_company_key(MASTER, "co_a", 1, SECRET)
    with pytest.raises(IntegrityError):
        unwrap_company_key(master, company, version, wrapped)


@pytest.mark.parametrize(
    ("parent", "namespace", "version", "error"),
    [
        (CompanyKey("co_a", 1, bytes(64)), "ns_a", 1, IntegrityError),
        (CompanyKey("co_b", 1, SECRET), "ns_a", 1, IntegrityError),
        (CompanyKey("co_a", 2, SECRET), "ns_a", 1, WrongKey),
        (CompanyKey("co_a", 1, SECRET), "ns_b", 1, IntegrityError),
        (CompanyKey("co_a", 1, SECRET), "ns_a", 2, IntegrityError),
    ],
    ids=["another key", "another company", "another key version", "another namespace", "another version"],
)
def test_a_namespace_key_opens_only_in_its_place(company, parent, namespace, version, error):
    wrapped = wrap_namespace_key(company, "ns_a", 1, SECRET)
    with pytest.raises(IntegrityError) as refused:
        unwrap_namespace_key(parent, namespace, version, wrapped)
    assert type(refused.value) is error


@pytest.mark.parametrize("length", [0, 32, 63, 65])
def test_a_wrapped_key_of_the_wrong_length_is_refused(company, length):
    with pytest.raises(IntegrityError, match="length"):
        unwrap_company_key(MASTER, "co_a", 1, wrap_company_key(MASTER, "co_a", 1, bytes(length)))
    with pytest.raises(IntegrityError, match="length"):
        unwrap_namespace_key(company, "ns_a", 1, wrap_namespace_key(company, "ns_a", 1, bytes(length)))


def test_a_row_opens_only_where_it_was_sealed(namespace):
    sealed = namespace.seal_row(b"ours", "memories", 7, "content")
    assert namespace.open_row(sealed, "memories", 7, "content") == b"ours"
    for place in [("memories", 8, "content"), ("memories", 7, "vectors"), ("jobs", 7, "content")]:
        with pytest.raises(IntegrityError):
            namespace.open_row(sealed, *place)


@pytest.mark.parametrize(
    ("other", "error"),
    [
        (NamespaceKey("co_b", "ns_a", 1, SECRET), IntegrityError),
        (NamespaceKey("co_a", "ns_b", 1, SECRET), IntegrityError),
        (NamespaceKey("co_a", "ns_a", 2, SECRET), WrongKey),
        (NamespaceKey("co_a", "ns_a", 1, bytes(64)), IntegrityError),
    ],
    ids=["another company", "another namespace", "another key version", "another key"],
)
def test_a_row_opens_only_under_its_own_namespace(namespace, other, error):
    sealed = namespace.seal_row(b"ours", "memories", 7, "content")
    with pytest.raises(IntegrityError) as refused:
        other.open_row(sealed, "memories", 7, "content")
    assert type(refused.value) is error


def test_values_of_the_levels_are_not_interchangeable(company, namespace):
    levels = {
        "control": (lambda: MASTER.seal(b"x", "a", "b"), lambda sealed: MASTER.open(sealed, "a", "b")),
        "company": (lambda: company.seal(b"x", "a", "b"), lambda sealed: company.open(sealed, "a", "b")),
        "row": (lambda: namespace.seal_row(b"x", "a", 1, "b"), lambda sealed: namespace.open_row(sealed, "a", 1, "b")),
    }
    for one, two in itertools.permutations(levels, 2):
        with pytest.raises(IntegrityError):
            levels[two][1](levels[one][0]())


def test_handles_are_stable_across_rotation_of_the_data_key(namespace):
    rotated = NamespaceKey("co_a", "ns_a", 2, bytes(32) + SECRET[32:])
    assert rotated.handle("memory", "a") == namespace.handle("memory", "a")
    assert rotated.file_key != namespace.file_key


def test_handles_differ_by_key_kind_and_value(company, namespace):
    keys = [MASTER, company, NamespaceKey("co_a", "ns_b", 1, new_secret())]
    handles = {key.handle(kind, value) for key in keys for kind in ("memory", "session") for value in ("a", "b", "")}
    assert len(handles) == len(keys) * 2 * 3
    assert {len(handle) for handle in handles} == {32}
    assert namespace.handle("a", "bc") != namespace.handle("ab", "c")


def test_one_secret_gives_one_key_for_each_purpose(namespace):
    assert namespace.file_key not in {SECRET[:32], namespace._rows.key}


def test_secrets_come_from_the_operating_system_at_full_length():
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {64}


def test_the_key_id_is_public_and_says_nothing(company, namespace):
    assert len(MASTER.key_id) == 16
    assert MASTER.key_id != MasterKey(bytes(32)).key_id
    for key in (MASTER, company, namespace):
        assert SECRET[:8].hex() not in repr(key)
        assert "secret" not in repr(key)
