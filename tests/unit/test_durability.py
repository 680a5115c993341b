import pytest

from core.durability import write_whole


def test_a_file_appears_whole_and_private(tmp_path):
    write_whole(tmp_path / "new", iter([b"one", b"two"]))
    assert (tmp_path / "new").read_bytes() == b"onetwo"
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_one_that_is_cut_off_never_appears(tmp_path):
    def broken():
        yield b"one"
        assert not (tmp_path / "new").exists()
        raise ConnectionError("cut off")

    with pytest.raises(ConnectionError):
        write_whole(tmp_path / "new", broken())
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "new").write_text("mine")
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "new", iter([b"other"]))
    assert (tmp_path / "new").read_text() == "mine"
