import os

import pytest

from rlipv2.ops.files import write_atomically


@pytest.mark.parametrize("content", ["é\n", "é\n".encode()])
def test_text_and_bytes_are_written_and_nothing_else(tmp_path, content):
    path = tmp_path / "new" / "a.txt"
    write_atomically(path, "old")
    write_atomically(path, content)
    assert path.read_bytes() == b"\xc3\xa9\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_atomically(path, "old")

    def crash(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="a"):
        write_atomically(tmp_path / "a", "new")
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]
