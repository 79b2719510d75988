import pytest

from rlipv2.datasets import files
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "LFS pointer"),
        (b"<!DOCTYPE html><html>sign in</html>", "web page"),
        (b'[{"file_name": "a.jpg", "annotations"', "cut off after 37 bytes"),
        (b'[{"file_name": }]', "not valid JSON"),
        (b'["\x80"]', "not text"),
    ],
)
def test_what_is_no_json_says_what_it_is(tmp_path, content, message):
    path = tmp_path / "trainval_hico.json"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=message) as raised:
        files.read_json(path)
    assert str(path) in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"nothing\.json"):
        files.read_json(tmp_path / "nothing.json")


def test_written_json_reads_back_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "a.json"
    files.write_json(path, [1, 2])
    files.write_json(path, [3])
    assert files.read_json(path) == [3]
    assert list(path.parent.iterdir()) == [path]
