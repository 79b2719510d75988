import json
import tracemalloc

import pytest

from rlipv2.datasets import json_stream
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.json_stream import iterate_records

RECORDS = [{"a": [1, {"b": "]},"}]}, 12345, 'x\\"y', None, [], {"ä": "ö" * 40}, -1.5e3, {}]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("layout", [{}, {"indent": 2}, {"separators": (",", ":"), "ensure_ascii": False}])
def test_records_come_out_whatever_the_pieces(tmp_path, monkeypatch, chunk, layout):
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    path = tmp_path / "list.json"
    path.write_text(" " + json.dumps(RECORDS, **layout) + "\n ", encoding="utf-8")
    assert list(iterate_records(path)) == RECORDS


def test_an_empty_list_has_no_records(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("[ ]")
    assert list(iterate_records(path)) == []


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "CHUNK", 10_000)
    path = tmp_path / "list.json"
    record = json.dumps({"values": [*range(200)]})
    path.write_text("[" + ",".join([record] * 1000) + "]")
    assert path.stat().st_size > 9e5
    tracemalloc.start()
    assert sum(1 for _ in iterate_records(path)) == 1000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("<html>", "web page"),
        ("version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        ('{"a": 1}', "its top level is no list"),
        ('[{"a": 1}, {"a": ', "cut off in record 1"),
        ('[{"a": 1}', "cut off in record 1"),
        ('[{"a": 1} {"a": 2}]', "not valid JSON at record 1"),
        ('[{"a": 1}, {a: 2}]', "not valid JSON at record 1"),
        ('[{"a": 1}] 5', "something follows the list"),
        (b'[{"a": "\xff"}]', "not text"),
    ],
)
def test_other_content_is_refused(tmp_path, content, message):
    path = tmp_path / "list.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AnnotationError, match=message) as error:
        list(iterate_records(path))
    assert str(path) in str(error.value)


def test_a_break_in_a_large_file_is_found_before_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "CHUNK", 100)
    monkeypatch.setattr(json_stream, "LONGEST", 1000)
    path = tmp_path / "list.json"
    path.write_text("[1, {broken" + " " * 100_000 + "]")
    records = iterate_records(path)
    assert next(records) == 1
    with pytest.raises(AnnotationError, match="not valid JSON at record 1"):
        next(records)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"list\.json"):
        list(iterate_records(tmp_path / "list.json"))
