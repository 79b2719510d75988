import json
import shutil

import numpy as np
import pytest

from rlipv2.datasets.__main__ import main
from rlipv2.datasets.vcoco.check import check_vcoco
from rlipv2.datasets.vcoco.convert import convert
from tests.fakes import write_image
from tests.fakes_vcoco import VCOCO, People, vcoco_scenes, write_vcoco

# a miniature never has the numbers of the release, and one box of it has no width
EXPECTED = {"number of images", "number of relations", "relations of each verb and object", "boxes have an area"}
IMAGE = "images/val2014/COCO_val2014_000000000042.jpg"
HOIA = "annotations/test_vcoco.json"


@pytest.fixture
def folder(tmp_path):
    return write_vcoco(tmp_path)


def findings(folder, part="test", **options):
    return {
        finding.what: finding
        for finding in check_vcoco(folder, **options).findings
        if finding.part == part and finding.level != "ok" and finding.what not in EXPECTED
    }


def only(found):
    assert len(found) == 1, found
    return next(iter(found.values()))


@pytest.mark.parametrize("part", ["trainval", "test", "both"])
def test_a_sound_miniature_has_no_findings(folder, part):
    assert findings(folder, part, decode="all") == {}
    for split in ("trainval", "test"):
        convert(folder, folder / f"annotations/{split}_vcoco.json", split)
    assert findings(folder, part, decode="all") == {}
    rows = {finding.what for finding in check_vcoco(folder).findings}
    assert {"annotations can be read (hoia: test_vcoco.json)", "the release agrees"} <= rows


def test_the_numbers_of_the_release_are_known(folder):
    rows = {f.what: f for f in check_vcoco(folder).findings if f.part == "trainval"}
    assert rows["number of images"].offenders == ("5 images, the release has 5,400",)
    assert (
        rows["number of relations"]
        .offenders[0]
        .startswith(
            "14 relations, 2 of them without the object of a role, 3 of actions without role; the release has 25,810"
        )
    )
    assert rows["relations of each verb and object"].count == 234
    assert rows["relations without object"].count == 5
    assert rows["crowd boxes"].count == 1


def test_a_hoia_list_alone_is_an_error_of_the_test_split(tmp_path):
    folder = write_vcoco(tmp_path, kind="hoia")
    assert only(findings(folder)).what == "annotated people are known"
    assert findings(folder, "trainval") == {}


def test_a_list_that_differs_from_the_release_is_an_error(folder):
    convert(folder, folder / HOIA, "test")
    records = json.loads((folder / HOIA).read_text())
    records[1]["hoi_annotation"].pop()
    records[2]["annotations"][0]["bbox"][0] += 5
    (folder / HOIA).write_text(json.dumps(records))
    found = findings(folder)["the release agrees"]
    assert [line.rpartition(": ")[2] for line in found.offenders] == ["relations differ", "boxes_xyxy differ"]
    (folder / "annotations/instances_val2014.json").write_text("{}")
    assert "no instance annotations" in findings(folder)["the release agrees"].offenders[0]


def test_missing_folders_annotations_and_images_are_errors(folder, tmp_path):
    assert only(findings(tmp_path / "nothing", "both")).what == "folder"
    (folder / IMAGE).unlink()
    assert only(findings(folder)).offenders == ("COCO_val2014_000000000042.jpg",)
    shutil.rmtree(folder / "images/val2014")
    assert only(findings(folder)).what == "image folder"
    (folder / "data/vcoco/vcoco_test.json").unlink()
    assert only(findings(folder)).what == "annotations can be read"
    assert findings(folder, "trainval") == {}


def test_damaged_and_resized_images_are_errors(folder):
    write_image(folder / IMAGE, (96, 128))
    assert only(findings(folder)).what == "sizes agree with the annotations"
    (folder / IMAGE).write_bytes(b"<html>")
    assert only(findings(folder)).what == "images are images"


def scenes_with(boxes, people, **fields):
    return [*vcoco_scenes(), People(80, "test", boxes, people, **fields)]


PERSON = ("person", (1.0, 2.0, 20.0, 40.0))


@pytest.mark.parametrize(
    ("scene", "what", "level"),
    [
        (scenes_with([("dog", PERSON[1])], {0: [("walk", {})]}), "subjects are people", "warning"),
        (
            scenes_with([PERSON, ("dog", PERSON[1])], {0: [("read", {"obj": 1})]}),
            "objects are among those of the role",
            "warning",
        ),
        (scenes_with([PERSON], {0: [("look", {"obj": 0})]}), "subject and object are two boxes", "warning"),
        (
            scenes_with([PERSON], {0: [("walk", {})]}, area={0: 0.0}),
            "annotated boxes exist for the role AP",
            "error",
        ),
    ],
)
def test_odd_annotations_are_told(tmp_path, scene, what, level):
    found = only(findings(write_vcoco(tmp_path, scenes=scene)))
    assert (found.what, found.level, found.count) == (what, level, 1)
    assert "COCO_val2014_000000000080.jpg" in found.offenders[0]


def test_an_object_of_an_action_without_role_is_an_error(tmp_path):
    folder = write_vcoco(tmp_path)
    convert(folder, folder / HOIA, "test")
    records = json.loads((folder / HOIA).read_text())
    records[2]["hoi_annotation"][0]["object_id"] = 1
    (folder / HOIA).write_text(json.dumps(records))
    shutil.rmtree(folder / "data")
    assert only(findings(folder)).what == "actions without role have no object"


def test_images_of_both_splits_are_errors(tmp_path):
    scenes = vcoco_scenes()
    scenes[-1].image_id = 36
    assert only(findings(write_vcoco(tmp_path, scenes=scenes), "both")).offenders == ("36",)


def test_the_official_table_is_checked(folder):
    path = folder / "annotations/corre_vcoco.npy"
    np.save(path, np.zeros((3, 3)))
    assert only(findings(folder, "both")).what == "verbs and objects that go together"
    np.save(path, VCOCO.valid_pairs)
    assert findings(folder, "both") == {}


def test_the_command_exits_with_one_on_errors(folder, capsys):
    assert main(["check", "vcoco", str(folder), "--decode", "all"]) == 0
    (folder / IMAGE).unlink()
    assert main(["check", "vcoco", str(folder)]) == 1
    assert "COCO_val2014_000000000042.jpg" in capsys.readouterr().out
