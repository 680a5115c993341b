"""Names in paths: an encoded slash belongs to the name."""

import asyncio
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from api.paths import ExactSegments, PathText

text_of = TypeAdapter(PathText).validate_python


def routed(raw, path):
    """The path that the application behind is given."""
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)

    asyncio.run(ExactSegments(app)({"type": "http", "raw_path": raw, "path": path}, None, None))
    return seen["path"]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_name_in_a_segment_comes_back(name):
    raw = f"/v1/memory/{quote(name, safe='')}/history".encode()
    segments = routed(raw, f"/v1/memory/{name}/history").split("/")
    if "/" in name:
        assert len(segments) == 5
        assert text_of(segments[3]) == name


def test_a_path_without_encoded_slashes_is_left_alone():
    assert routed(b"/a/b", "/as given") == "/as given"
