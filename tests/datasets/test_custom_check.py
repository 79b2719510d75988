import json

import pytest
from rich.console import Console

from rlipv2.datasets.__main__ import main
from rlipv2.datasets.custom.check import check_custom
from tests.fakes import custom_images, write_custom_data, write_image


@pytest.fixture
def root(tmp_path):
    return write_custom_data(tmp_path)


def edit(root, change, split="train"):
    path = root / f"annotations/{split}.json"
    content = json.loads(path.read_text())
    change(content["images"])
    path.write_text(json.dumps(content))


def found(root, level="error", **options):
    """Rows of one level by (part, what)."""
    return {(row.part, row.what): row for row in check_custom(root, **options).of_level(level)}


def only(rows):
    assert len(rows) == 1, rows
    return next(iter(rows.items()))


def test_sound_data_has_no_findings(root):
    assert found(root, decode="all") == {}
    assert found(root, "warning") == {}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda images: images[0].pop("objects"), "records are built as described"),
        (lambda images: images[1].update(file_name="train/0.png"), "file names are relative and listed once"),
        (lambda images: images[0].update(width=-1, height=2), "widths and heights are sizes"),
        (lambda images: images[0]["objects"][0].update(box=[1, 2]), "boxes are four finite numbers"),
        (lambda images: images[0]["objects"][0].update(box=[4, 4, 4, 4]), "boxes end after they begin"),
        (lambda images: images[0]["objects"][0].update(name=""), "names can be used"),
        (lambda images: images[0]["relations"][0].update(object=7), "relations refer to objects of their image"),
        (lambda images: images[0].update(file_name="train/9.png"), "images are there"),
        (lambda images: images[0].update(width=40, height=30), "sizes agree with the annotations"),
    ],
)
def test_every_rule_has_its_row(root, change, what):
    edit(root, change)
    (part, name), row = only(found(root))
    assert (part, name) == ("train", what)
    assert row.count == 1
    assert "train/" in row.offenders[0]


@pytest.mark.parametrize(
    ("change", "what", "shown"),
    [
        (lambda images: images[0]["objects"][2].update(box=[50, 40, 70, 60]), "boxes lie inside the image", "box 2"),
        (lambda images: images[0]["relations"][0].update(subject=1), "subject and object are two boxes", "relation 0"),
        (lambda images: images[0].update(realtions=[]), "keys mean something", "image.realtions, 1 times"),
    ],
)
def test_doubtful_records_are_warnings(root, change, what, shown):
    edit(root, change)
    assert found(root) == {} or what == "boxes lie inside the image"
    rows = found(root, "warning") | found(root)
    assert shown in rows["train", what].offenders[0]


@pytest.mark.parametrize("spelling", ["Person", "person ", "per_son", "per  son"])
def test_names_that_differ_in_spelling_only_are_told(root, spelling):
    edit(root, lambda images: images[0]["objects"][2].update(name="per son"))
    edit(root, lambda images: images[1]["objects"][2].update(name=spelling))
    rows = found(root, "warning")
    alike = rows["all", "names of objects differ in more than spelling"].offenders[0]
    assert repr(spelling) in alike
    assert (("all", "names of objects have no superfluous blanks") in rows) == (spelling != " ".join(spelling.split()))


def test_words_that_training_lacks_are_errors_unless_asked_for(root):
    edit(root, lambda images: images[0]["relations"][0].update(name="towing"), "test")
    (part, what), row = only(found(root))
    assert (part, what, row.offenders) == ("test", "relations are known from training", ("'towing'",))
    assert found(root, label_space="all") == {}


def test_images_that_are_trained_on_and_evaluated_are_errors(root):
    edit(root, lambda images: images[0].update(file_name="train/0.png"), "test")
    (_, what), row = only(found(root))
    assert (what, row.offenders) == ("no image in train and test", ("train/0.png",))


@pytest.mark.parametrize(
    ("split", "hint"), [("train", "expected the file"), ("val", "data.val=test"), ("test", "data.test=val")]
)
def test_a_split_that_training_would_miss_is_an_error(root, split, hint):
    (root / f"annotations/{split}.json").unlink()
    (_, what), row = only(found(root))
    assert (what, row.offenders) == (f"{split}.json is there", (str(root / f"annotations/{split}.json"),))
    assert hint in row.note
    assert ("data.train=" in row.note) is False


def test_a_further_split_can_stand_in_for_training(root):
    (root / "annotations/train.json").rename(root / "annotations/fold3.json")
    assert "data.train=fold3" in found(root)["all", "train.json is there"].note


def test_a_folder_without_annotations_is_one_error(root):
    (_, what), _ = only(found(root / "nowhere"))
    assert what == "annotation files"


@pytest.mark.parametrize(("split", "level"), [("train", "error"), ("test", "warning")])
def test_normalised_boxes_and_empty_splits_are_told(root, split, level):
    def normalise(images):
        for entry in (entry for image in images for entry in image["objects"]):
            entry["box"] = [value / 64 for value in entry["box"]]

    def empty(images):
        for image in images:
            image["relations"] = []

    edit(root, normalise, split)
    (_, what), row = only(found(root, level))
    assert (what, row.count % 3) == ("boxes are in pixels", 0)
    assert "pixels are expected" in row.note
    edit(root, empty, split)
    row = found(root, level)[split, "some image has relations"]
    assert "nothing to" in row.note
    edit(root, lambda images: [image.update(objects=[]) for image in images], split)
    assert {"some image has objects", "some image has relations"} <= {what for _, what in found(root, level)}


def test_names_relative_to_the_wrong_folder_are_told(root):
    edit(root, lambda images: images[0].update(file_name="images/train/0.png"))
    row = found(root)["train", "file names are relative to images/"]
    assert row.offenders == ("images/train/0.png",)


def test_a_damaged_image_and_a_broken_file_are_found(root):
    write_image(root / "images/train/0.png", (48, 64))
    content = (root / "images/train/0.png").read_bytes()
    (root / "images/train/0.png").write_bytes(content[: len(content) // 2])
    (root / "annotations/val.json").write_text('{"images": [')
    rows = found(root, decode="all")
    assert "train/0.png: cannot be decoded" in rows["train", "images are images"].offenders[0]
    assert "cut off" in rows["val", "file can be read"].offenders[0]


def test_statistics_are_counted(root):
    rows = {(row.part, row.what): row for row in check_custom(root).findings}
    assert rows["train", "images"].count == 5
    assert rows["train", "boxes"].note == "2 names: person 10, bicycle 5"
    assert rows["train", "related pairs"].count == 10
    assert "at most 2 in one image" in rows["train", "related pairs"].note
    assert rows["train", "relations with few examples"].offenders == ("'riding': 5",)


def test_the_command_tells_by_its_status(root, capsys):
    assert main(["check", "custom", str(root)]) == 0
    edit(root, lambda images: images[0]["relations"][0].update(object=7))
    assert main(["check", "custom", str(root)]) == 1
    assert "the image has 3 objects" in capsys.readouterr().out
    check_custom(root).print(Console(quiet=True))


def test_further_splits_are_checked_too(tmp_path):
    root = write_custom_data(tmp_path, splits={"train": custom_images("train", 2), "extra": custom_images("extra", 2)})
    parts = {row.part for row in check_custom(root).findings}
    assert {"train", "extra", "all"} == parts
