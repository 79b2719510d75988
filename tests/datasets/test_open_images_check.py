import json

import pytest

from rlipv2.datasets.__main__ import main
from rlipv2.datasets.open_images.check import check_open_images
from rlipv2.vocabularies import load
from tests.fakes import write_image, write_json, write_open_images

# a miniature never has the numbers and names of the release
EXPECTED = {
    "number of images",
    "number of boxes",
    "number of relations",
    "object classes that occur",
    "names of objects are those of the release",
    "names of relations are those of the release",
}


@pytest.fixture
def folder(tmp_path):
    return write_open_images(tmp_path)


def edit(folder, change, split="train"):
    path = folder / f"annotations/vrd-{split}-anno.json"
    records = json.loads(path.read_text())
    change(records)
    path.write_text(json.dumps(records))


def findings(folder, **options):
    report = check_open_images(folder, **options)
    return {(row.part, row.what): row for row in report.findings if row.level != "ok" and row.what not in EXPECTED}


def only(found):
    assert len(found) == 1, found
    return next(iter(found.items()))


@pytest.mark.parametrize("kind", ["vrd", "rlipv2"])
def test_a_sound_miniature_has_no_findings(tmp_path, kind):
    found = findings(write_open_images(tmp_path, kind=kind), decode="all")
    assert {place for place, row in found.items() if row.level == "error"} == set()
    assert set(found) == (set() if kind == "vrd" else {("val", "annotations can be read")})


def test_other_numbers_and_names_than_those_of_the_release_are_warnings(folder):
    report = check_open_images(folder)
    rows = {(row.part, row.what): row for row in report.findings if row.what in EXPECTED}
    assert {row.level for row in rows.values()} == {"warning"}
    assert rows["test", "number of images"].offenders == ("4 images, papers tell 5,322",)
    assert rows["all", "number of boxes"].offenders == ("18 in train and val, the release has 518,312",)
    assert rows["all", "names of objects are those of the release"].offenders[1] == (
        "id 1: 'Man', the public list has 'Container'"
    )


def test_names_of_the_release_are_accepted(folder):
    known = load("open_images")
    names = {"obj": list(known.objects), "rel": list(known.relations)}
    write_json(folder / "annotations/categories_dict.json", names)
    rows = [row for row in check_open_images(folder).findings if row.what.startswith("names of")]
    assert [row.level for row in rows] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("change", "what", "level"),
    [
        (lambda records: records[1]["rel"].append([0, 9, 1]), "relations refer to boxes of their image", "error"),
        (lambda records: records[1]["rel"].append([0, 0, 1]), "subject and object are two boxes", "warning"),
        (lambda records: records[1]["bbox"].__setitem__(0, [5, 5, 5, 9]), "boxes have an area", "warning"),
        (lambda records: records[1].update(img_size=[80, 60]), "sizes agree with the annotations", "error"),
        (lambda records: records[1]["det_labels"].append(1), "annotations can be read", "error"),
        (lambda records: records.append(records[0]), "images listed once", "warning"),
    ],
)
def test_one_odd_record_gives_one_finding(folder, change, what, level):
    edit(folder, change)
    found = findings(folder)
    found = {place: row for place, row in found.items() if place[0] == "train"}
    (_, name), row = only(found)
    assert (name, row.level) == (what, level)


def test_relations_to_missing_boxes_are_tolerated_in_training_up_to_a_share(folder):
    edit(folder, lambda records: records[1]["rel"].append([0, 9, 1]))
    (_, _), row = only(findings(folder, max_skip_rate=0.5))
    assert (row.level, row.note) == ("warning", "training leaves these 1 images out")


def test_shared_and_damaged_and_missing_images_are_errors(folder):
    edit(folder, lambda records: records[0].update(img_fn="a000000000000000"), "val")
    (folder / "images/a000000000000001.jpg").write_text("<html>")
    (folder / "images/a000000000000002.jpg").unlink()
    write_image(folder / "images/b000000000000001.jpg", (30, 30))
    found = findings(folder)
    assert found["all", "no image in train and val"].offenders == ("a000000000000000.jpg",)
    assert found["train", "images are images"].count == found["train", "images are there"].count == 1
    assert "(30, 30)" in found["val", "sizes agree with the annotations"].offenders[0]


def test_another_order_of_the_listed_classes_is_told(folder):
    names = {"obj": ["Chair", "Man", "Beer", "Woman"], "rel": ["at"]}
    write_json(folder / "annotations/OI_SGG_trainval_test_categories_dict.json", names)
    (_, what), _ = only(findings(folder))
    assert what == "order of the classes that occur"


def test_the_command_tells_by_its_status(folder, tmp_path, capsys):
    assert main(["check", "open_images", str(folder), "--decode", "2"]) == 0
    assert main(["check", "open_images", str(tmp_path / "nowhere")]) == 1
    assert "data/open_image_v6/README.md" in capsys.readouterr().out
