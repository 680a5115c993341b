"""Text of every Unicode plane comes back exactly, and is found."""

import json
import unicodedata

import pytest

# One word in a script of each plane that has letters; searched for as written.
WORDS = {
    0: ["naïve", "Ελλάδα", "привет", "नमस्ते", "日本語文字", "한국어", "ภาษาไทย", "مرحبا"],
    1: ["𐌰𐌱𐌲𐌳", "𐤀𐤁𐤂", "𒀀𒀁𒀂"],
    2: ["𠀀𠀁𠀂"],
    3: ["𰀀𰀁𰀂"],
}


def plane_text(plane):
    """Characters from all over a plane: first, last, assigned or not, but no surrogates."""
    codes = [
        plane << 16 | low for low in (0x0, 0x1, 0x41, 0x301, 0x2028, 0x4E00, 0xD7FF, 0xE000, 0xFEFF, 0xFFFD, 0xFFFF)
    ]
    return "".join(map(chr, codes))


def test_every_plane_comes_back_exactly_and_is_found(client, namespace, finished, find):
    rows = [
        {
            "namespace": namespace,
            "id": f"plane-{plane}",
            "content": f"{plane_text(plane)} marker{plane}x",
            "metadata": {"text": plane_text(plane), "k" + plane_text(plane): plane},
        }
        for plane in range(17)
    ]
    ascii_lines = "\n".join(json.dumps(row) for row in rows[:8])
    utf8_lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows[8:])
    for body in (ascii_lines, utf8_lines):
        response = client.post(
            "/v1/memory/bulk", content=body.encode(), headers={"content-type": "application/x-ndjson"}
        )
        assert response.json()["rejected"] == []
        finished(response.json()["job_id"])
    for plane, row in enumerate(rows):
        [hit] = find(f"marker{plane}x", mode="text")
        assert (hit["content"], hit["metadata"]) == (row["content"], row["metadata"])
        [hit] = find("marker", mode="vector", filter={"text": plane_text(plane)})
        assert hit["id"] == row["id"]
        assert find(plane_text(plane), limit=1) is not None  # as a query: answered, whatever it finds


@pytest.mark.parametrize("plane", WORDS)
def test_words_of_every_script_are_found_as_written(client, namespace, finished, find, plane):
    rows = [{"namespace": namespace, "id": word, "content": f"- {word} -"} for word in WORDS[plane]]
    finished(client.post("/v1/memory/bulk", json=rows).json()["job_id"])
    for word in WORDS[plane]:
        assert [hit["id"] for hit in find(word, mode="text")] == [unicodedata.normalize("NFC", word)]


def test_names_of_every_plane_are_kept(client, finished):
    letters = [0x41, 0x1F600, 0x20000, 0x30000, 0xE0100, 0xF0000, 0x100000]
    name = "ns " + "".join(map(chr, letters))
    added = client.post(
        "/v1/memory", json={"namespace": name, "content": "x", "id": name, "session": name, "tags": [name[:90]]}
    ).json()
    finished(added["job_id"])
    [memory] = client.get("/v1/memory", params={"namespace": name, "session": name}).json()["memories"]
    assert (memory["id"], memory["session"], memory["tags"]) == (name, name, [name[:90]])
    [hit] = client.post("/v1/memory/search", json={"namespace": name, "query": "x", "tags": [name[:90]]}).json()[
        "results"
    ]
    assert hit["id"] == name


def test_line_ends_and_control_characters_in_content_come_back_exactly(client, namespace, remember):
    text = "a\r\nb\rc\nd\te\x00f\x1fg\x7fh\u0085i\u2028j\u2029k"
    added = remember(text)
    assert client.get(f"/v1/memory/{added['id']}", params={"namespace": namespace}).json()["content"] == text
