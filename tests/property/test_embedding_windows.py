from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.embedding.windows import cut_windows


@st.composite
def cuts(draw):
    head = draw(st.lists(st.just(-1), max_size=8))
    tail = draw(st.lists(st.just(-2), max_size=3))
    overlap = draw(st.integers(0, 40))
    room = draw(st.integers(overlap + 1, overlap + 300))
    return list(range(draw(st.integers(0, 3000)))), head, tail, room + len(head) + len(tail), overlap


@given(cuts())
def test_windows_cover_every_token_within_bounds(cut):
    body, head, tail, max_tokens, overlap = cut

    windows = cut_windows(body, head=head, tail=tail, max_tokens=max_tokens, overlap=overlap)

    parts = [window[len(head) : len(window) - len(tail)] for window in windows]
    assert all(len(window) <= max_tokens for window in windows)
    assert all(window[: len(head)] == head for window in windows)
    assert all(window[len(window) - len(tail) :] == tail for window in windows)
    assert all(part == list(range(part[0], part[0] + len(part))) for part in parts if part)
    assert parts[0] == body[: len(parts[0])]
    assert parts[-1] == body[len(body) - len(parts[-1]) :]
    for before, after in pairwise(parts):
        assert before[0] < after[0] <= before[-1] + 1 - overlap
    if len(parts) > 1:
        assert {len(part) for part in parts} == {max_tokens - len(head) - len(tail)}


def test_no_more_windows_than_needed():
    windows = cut_windows(range(3000), head=[101], tail=[102], max_tokens=256, overlap=32)

    assert len(windows) == 14
    assert len(cut_windows(range(254), head=[101], tail=[102], max_tokens=256, overlap=32)) == 1
    assert len(cut_windows(range(255), head=[101], tail=[102], max_tokens=256, overlap=32)) == 2


@pytest.mark.parametrize("overlap", [-1, 10, 11])
def test_a_window_without_room_to_advance_is_refused(overlap):
    with pytest.raises(ValueError, match="no advance"):
        cut_windows(range(50), head=[1], tail=[2], max_tokens=12, overlap=overlap)
