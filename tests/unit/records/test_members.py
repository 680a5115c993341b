import numpy as np
import pytest

from core.records.members import pack_ids, unpack_ids


@pytest.mark.parametrize("ids", [[], [7], [1, 2, 3], [5, 2**40, 2**62]])
def test_ids_come_back(ids):
    assert unpack_ids(pack_ids(ids)).tolist() == ids


def test_a_hundred_thousand_neighbours_take_little_room():
    ids = np.arange(1, 100_001)
    assert len(pack_ids(ids)) < 5_000
    assert (unpack_ids(pack_ids(ids)) == ids).all()
