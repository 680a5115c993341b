import pytest

from core.privacy import exposed_bits

OURS = {"user": 10_001, "groups": {10_001, 44}}


@pytest.mark.parametrize(
    ("mode", "owner", "group", "exposed"),
    [
        (0o100600, 10_001, 10_001, 0),
        (0o100440, 0, 10_001, 0),  # as Kubernetes mounts a secret for `fsGroup`
        (0o100440, 0, 44, 0),
        (0o100440, 0, 45, 0o040),  # a group that we are not in
        (0o100440, 10_001, 10_001, 0o040),  # what is ours need not be a group's
        (0o100460, 0, 10_001, 0o020),  # to write is not to read
        (0o100444, 0, 10_001, 0o004),
    ],
)
def test_who_else_could_use_a_file(mode, owner, group, exposed):
    assert exposed_bits(mode, owner, group, **OURS) == exposed


def test_root_gives_itself_nothing():
    assert exposed_bits(0o100440, 0, 0, user=0, groups={0}) == 0o040
