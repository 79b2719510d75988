"""What the stages on the CPU make of the images of a unit."""

import json

import numpy as np
import pytest

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.pseudo_labels.batches import ImageFailure
from rlipv2.pseudo_labels.caption_files import CaptionFile
from rlipv2.pseudo_labels.parsing import RuleParser
from rlipv2.pseudo_labels.parsing.base import Problem
from rlipv2.pseudo_labels.progress import Progress, TooManyFailures
from rlipv2.pseudo_labels.records import LabelledImage, SceneGraph, Tags
from rlipv2.pseudo_labels.stages import (
    CaptionsOfFile,
    ParseCaptions,
    candidates_stage,
    captioned,
    make_matcher,
    tagged,
)
from rlipv2.pseudo_labels.units import DoneRecord

NAMES = ("person", "horse", "dog")


def image(image_id, labels=(0, 1)):
    boxes = np.array([[5.0 * row, 3.0, 20.0, 20.0] for row in range(len(labels))]).reshape(-1, 4)
    crowd = np.zeros(len(labels), bool)
    return LabelledImage(image_id, f"{image_id}.png", "train", (48, 64), boxes, np.array(labels, np.int64), crowd)


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"12": ["b", "ä"], "3": [], "5": ["x"], "999": ["of no image here"]},
        {
            "info": {"year": 2017},
            "type": "captions",
            "images": [{"id": 5}],
            "annotations": [
                {"image_id": 12, "caption": "b"},
                {"image_id": 5, "caption": "x", "id": 7},
                {"image_id": 12, "caption": "ä"},
            ],
        },
    ],
)
def test_captions_of_both_formats_are_found_by_image(tmp_path, content):
    path = write(tmp_path / "captions.json", content)
    for _ in range(2):
        captions = CaptionFile(path, index=tmp_path / "index")
        assert captions.captions_of([5, 12, 3, 4]) == [["x"], ["b", "ä"], [], []]
    write(path, {"5": ["new"]})
    assert CaptionFile(path, index=tmp_path / "index").captions_of([5]) == [["new"]]


def test_captions_of_images_that_are_not_labelled_are_counted(tmp_path, monkeypatch):
    content = {"3": ["a", "b", "c"], "9": ["d", "e"], "1": [], "4": ["f", "g", "h"], "12": ["i"]}
    for chunk in (1, 2, 3, 100):  # captions of an image may lie in two
        monkeypatch.setattr("rlipv2.pseudo_labels.by_image.CHUNK", chunk)
        captions = CaptionFile(write(tmp_path / "captions.json", content), index=tmp_path / str(chunk))
        counts = [captions.count_unknown(np.array(ids, np.int64)) for ids in ([12, 4], [3, 4, 9, 12], [1, 20], [])]
        assert counts == [2, 0, 4, 4]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"a": ["x"]}, "'a' is no image id"),
        ({"1": "x"}, r"captions.json: record 0 \(image 1\): captions='x': no list"),
        ({"1": ["x", None]}, r"record 1 \(image 1\): caption=None: no text"),
        ({"annotations": [{"image_id": "1", "caption": "x"}]}, r"record 0 \(image 1\): image_id='1': no integer"),
        ({"annotations": [{"image_id": 1}]}, r"record 0 \(image 1\): caption=None: no text"),
        ([1], "its top level is no object"),
        ('{"1": ["x"', "cut off"),
        ("", "the file is empty"),
    ],
)
def test_unusable_caption_files_are_refused(tmp_path, content, told):
    with pytest.raises(AnnotationError, match=told):
        CaptionFile(write(tmp_path / "captions.json", content))


def test_a_missing_caption_file_is_told(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"captions\.json"):
        CaptionFile(tmp_path / "captions.json")


def test_every_image_has_a_row_of_captions(tmp_path):
    lookup = CaptionFile(write(tmp_path / "captions.json", {"1": ["a man", " "]}))
    result = CaptionsOfFile(lookup)([image(1), image(2)], {})
    assert result.rows == [{"image_id": 1, "captions": ["a man", " "]}, {"image_id": 2, "captions": []}]
    assert result.counts == {"captions": 2, "empty captions": 1, "images without captions": 1}


def test_odd_captions_are_counted_and_have_empty_graphs():
    odd = ["", " \n", "ein Mann reitet auf einem Pferd", "一个人骑马", "a man\x00riding a horse", "a dog " * 100]
    rows = {1: {"image_id": 1, "captions": odd}, 2: {"image_id": 2, "captions": ["a man riding a horse"]}}
    result = ParseCaptions(RuleParser())([image(1), image(2), image(3)], rows)
    graphs = {row["image_id"]: row["graphs"] for row in result.rows}
    assert [len(graphs[number]) for number in (1, 2, 3)] == [6, 1, 0]
    assert [bool(graph["entities"]) for graph in graphs[1]] == [False, False, False, False, True, True]
    assert graphs[2][0]["relations"][0]["relation"] == "riding"
    expected = {"captions: empty": 2, "captions: not English": 2, "captions: control characters": 1}
    assert {name: result.counts[name] for name in expected} == expected
    assert (result.counts["captions: truncated"], result.counts["captions"]) == (1, 7)
    assert not result.failures


def test_a_caption_that_breaks_the_parser_is_a_failure_of_its_image_alone():
    class Breaking:
        def parse_with_problems(self, captions):
            return [SceneGraph()] * len(captions), [Problem(1, "KeyError: 'x'", True)]

    rows = {number: {"image_id": number, "captions": ["x"]} for number in (1, 2)}
    result = ParseCaptions(Breaking())([image(1), image(2)], rows)
    assert result.failures == [ImageFailure(2, "parser error", "KeyError: 'x'")]
    assert len(result.rows) == 2


def test_candidates_are_made_of_graphs_and_boxes_and_counted():
    graph = RuleParser().parse(["a man riding a horse"])[0].to_dict()
    function = candidates_stage(NAMES, {"matcher": "lexical"}, {"mode": "fast"})
    before = {number: {"image_id": number, "graphs": [graph]} for number in (1, 2)}
    result = function([image(1), image(2, labels=()), image(3, labels=(2,))], before)
    assert result.rows[0] == {"image_id": 1, "groups": [[[[0, 1]], ["riding"]]]}
    assert [row["groups"] for row in result.rows[1:]] == [[], []]
    counts = ("images without usable boxes", "images without candidates", "relations matched", "pairs")
    assert [result.counts[name] for name in counts] == [1, 2, 1, 1]


def test_matchers_are_chosen_by_name():
    assert make_matcher(NAMES, matcher="official").classes_of("a handbag", [0]) == (0,)
    assert make_matcher(NAMES, matcher="lexical").classes_of("a handbag", [0]) == ()
    with pytest.raises(ValueError, match=r"candidates\.matcher='exact': expected one of"):
        make_matcher(NAMES, matcher="exact")


def test_results_of_networks_are_put_in_the_order_of_the_images():
    images = [image(3), image(1), image(2)]
    failures = [ImageFailure(2, "missing image", "b"), ImageFailure(3, "unusable image", "a")]
    result = captioned(images, {1: ["a man"]}, failures, {"asked": 1})
    assert [row["image_id"] for row in result.rows] == [3, 1, 2]
    assert [failure.image_id for failure in result.failures] == [3, 2]
    assert result.counts == {"captions": 1, "empty captions": 0, "images without captions": 2, "asked": 1}
    one = Tags(np.array([[0, 1]]), ("ride",), np.array([0.5], np.float32))
    none = Tags(np.zeros((0, 2), np.int64), (), np.zeros(0, np.float32))
    result = tagged(images, {1: none, 3: one}, failures[:1], {"images without candidates": 9})
    assert [number for number, _ in result.rows] == [3, 1]
    assert dict(result.counts) == {"images tagged": 2, "relations": 1, "images tagged without relations": 1}


def done(failures, images=20):
    return DoneRecord(0, images, images, failures, {}, "", 1.0)


def test_progress_is_one_line(monkeypatch):
    clock = iter([100.0, 110.0, 110.0, 110.0, 130.0])
    monkeypatch.setattr("rlipv2.pseudo_labels.progress.time.monotonic", lambda: next(clock))
    progress = Progress("tag", units=4, images=80, quiet=True)
    progress.add(done({}), made=False)
    progress.add(done({"missing image": 2}), made=True)
    line = "tag: 2/4 units (1 were there), 2.0 images/s, 0:00:20 left, 2 missing image failures"
    assert progress.line() == line


def test_too_many_failures_end_a_stage_with_a_summary():
    progress = Progress("tag", units=4, images=2000, max_failures=0.01, quiet=True)
    progress.add(done({"missing image": 12}), made=True)
    progress.add(done({"unusable image": 8}), made=False)
    with pytest.raises(TooManyFailures, match=r"tag: 21 images failed \(13 missing image, 8 unusable image\)"):
        progress.add(done({"missing image": 1}), made=True)
    few = Progress("tag", units=1, images=20, max_failures=0.01, quiet=True)
    few.add(done({"missing image": 10}), made=True)  # ten may always fail


def test_captions_may_be_parsed_as_they_are():
    long = "a dog " * 40 + "a man riding a horse"
    rows = {1: {"image_id": 1, "captions": [long, ""]}}
    cut, whole = (ParseCaptions(RuleParser(cleaning=cleaning))([image(1)], rows) for cleaning in (True, False))
    relations = [[row["relation"] for row in result.rows[0]["graphs"][0]["relations"]] for result in (cut, whole)]
    assert relations == [[], ["riding"]]
    assert (cut.counts["captions: truncated"], whole.counts["captions: truncated"]) == (1, 0)
    assert whole.rows[0]["graphs"][1] == {"entities": (), "relations": ()}
    assert RuleParser(cleaning=False).identity["cleaning"] == "off"
