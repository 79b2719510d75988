import json

import numpy as np
import pytest

from rlipv2.datasets.__main__ import main
from rlipv2.datasets.vcoco import VCOCO, read_metric_arguments
from rlipv2.datasets.vcoco.convert import convert
from rlipv2.datasets.vcoco.readers import hoia
from tests.fakes_vcoco import VCOCO as NAMES
from tests.fakes_vcoco import hoia_record, vcoco_scenes, write_vcoco

LISTS = {"trainval": "annotations/trainval_vcoco.json", "test": "annotations/test_vcoco.json"}


@pytest.fixture
def folder(tmp_path):
    return write_vcoco(tmp_path)


def converted(folder, split):
    convert(folder, folder / LISTS[split], split)
    return json.loads((folder / LISTS[split]).read_text())


def test_the_list_holds_what_the_official_converter_writes(folder):
    expected = [hoia_record(scene) for scene in vcoco_scenes() if scene.split == "test"]
    for record, official in zip(converted(folder, "test"), expected, strict=True):
        assert record["file_name"] == official["file_name"]
        assert record["hoi_annotation"] == official["hoi_annotation"]
        plain = [{key: box[key] for key in ("category_id", "bbox")} for box in record["annotations"]]
        assert plain == official["annotations"]


@pytest.mark.parametrize("split", LISTS)
def test_the_list_reads_like_the_release_annotated_people_included(folder, split):
    before, truth = VCOCO(folder, split).records, read_metric_arguments(folder, split)["ground_truth"]
    converted(folder, split)
    after = VCOCO(folder, split)
    assert after.source.kind == "hoia"
    for field in ("image_ids", "sizes", "boxes", "labels", "box_ptr", "relations", "relation_ptr"):
        np.testing.assert_array_equal(getattr(after.records, field), getattr(before, field), err_msg=field)
    assert after.ground_truth.keys() == truth.keys()
    for key, value in truth.items():
        np.testing.assert_array_equal(after.ground_truth[key], value, err_msg=key)
        assert after.ground_truth[key].dtype == value.dtype


def test_the_metadata_tell_what_it_was_made_from(folder):
    converted(folder, "trainval")
    metadata = json.loads((folder / "annotations/trainval_vcoco.json.meta.json").read_text())
    assert metadata["source"] == ["vcoco_trainval.json", "instances_train2014.json"]
    assert (metadata["images"], metadata["boxes"], metadata["relations"]) == (5, 14, 14)


def test_the_command_writes_the_list(folder, capsys):
    assert main(["convert", "vcoco", str(folder), str(folder / LISTS["test"]), "--split", "test"]) == 0
    assert "relations: 7" in capsys.readouterr().out
    assert main(["convert", "vcoco", str(folder / "images"), "x.json", "--split", "test"]) == 2
    assert "no annotations of the test split" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: r[0].update(people=[]),
            r"record 0 \(image COCO_val.*\): people=\[\]: no list of the annotated people",
        ),
        (lambda r: r[0].update(people=[9]), r"people\[0\]=9: not a row of annotations"),
        (lambda r: r[0].update(people=["0"]), r"people\[0\]='0': not an integer"),
        (lambda r: r[0].update(people=[1]), r"hoi_annotation\[0\]=\[0, 1, 2\]: the subject is not among the annotated"),
        (lambda r: r[0].pop("width"), "width=None: missing, although image_id is there"),
        (lambda r: r[0].update(height=0), "height=0: not a number from 1"),
        (lambda r: r[0]["annotations"][0].pop("iscrowd"), "without iscrowd"),
        (lambda r: r[0]["annotations"][0].update(bbox_xywh=[1, 2]), "bbox_xywh=.* not four numbers"),
        (lambda r: r[0]["annotations"][0].update(area="1"), "area='1': not a number"),
        (
            lambda r: r[0]["hoi_annotation"].append({"subject_id": 0, "object_id": 0, "category_id": 2}),
            r"hoi_annotation\[0\]=\[0, 1, 2\]: two objects in one role of one person",
        ),
    ],
)
def test_bad_records_of_the_list_are_named(folder, change, message):
    records = converted(folder, "test")
    change(records)
    (folder / LISTS["test"]).write_text(json.dumps(records))
    with pytest.raises(ValueError, match=message):
        hoia.read(folder / LISTS["test"], NAMES).ground_truth(NAMES)
