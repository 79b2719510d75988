import json

import numpy as np
import pytest

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.vcoco import VCOCO, read_metric_arguments
from rlipv2.datasets.vcoco.source import find_source
from tests.fakes_vcoco import VCOCO as NAMES
from tests.fakes_vcoco import action_file, hoia_record, vcoco_scenes, write_vcoco

ACTIONS, INSTANCES = "data/vcoco/vcoco_trainval.json", "annotations/instances_train2014.json"
HOIA = "annotations/trainval_vcoco.json"
FIELDS = ("image_ids", "boxes", "labels", "box_ptr", "relations", "relation_ptr")


def read(folder, split="trainval", **options):
    return find_source(folder, split, **options).read(NAMES)


def edit(folder, name, change):
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    return folder


def action(name, **fields):
    """Changes lists of one action: {field: {position: value}}."""

    def change(content):
        found = next(entry for entry in content if entry["action_name"] == name)
        for field, values in fields.items():
            for place, value in values.items():
                found[field][place] = value

    return change


@pytest.mark.parametrize("split", ["trainval", "test"])
@pytest.mark.parametrize("extract", [False, True])
def test_both_sources_give_the_same_records(tmp_path, split, extract):
    release = VCOCO(write_vcoco(tmp_path / "release", extract=extract), split).records
    listed = VCOCO(write_vcoco(tmp_path / "hoia", kind="hoia"), split).records
    assert release.file_names == listed.file_names
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(release, field), getattr(listed, field), err_msg=field)


def test_train_and_val_together_are_trainval(tmp_path):
    folder = write_vcoco(tmp_path)
    whole = read(folder)
    parts = [read(folder, split) for split in ("train", "val")]
    (folder / ACTIONS).unlink()
    joined = read(folder)
    for field in ("image_ids", "boxes_xyxy", "relations"):
        expected = np.concatenate([getattr(part, field) for part in parts])
        np.testing.assert_array_equal(getattr(whole, field), expected)
        np.testing.assert_array_equal(getattr(joined, field), expected)


def test_relations_come_by_action_then_by_person_then_by_role(tmp_path):
    records = VCOCO(write_vcoco(tmp_path), "train").records
    names = [(s, o, NAMES.verbs[v]) for s, o, v in records[0].relations.tolist()]
    assert names == [(1, 0, "hold_obj"), (1, -1, "stand"), (2, 1, "look_obj"), (1, 0, "hit_instr"), (1, -1, "hit_obj")]


def test_boxes_are_corners_as_stored_with_crowds_and_people_without_annotation(tmp_path):
    content = read(write_vcoco(tmp_path))
    assert content.boxes_xyxy[:2].tolist() == [[30.0, 4.0, 42.25, 12.5], [1.5, 2.25, 21.5, 42.75]]
    assert content.box_ptr[:2].tolist() == [0, 5]
    assert content.instances.crowd[:5].tolist() == [0, 0, 0, 1, 0]
    assert content.sizes[0].tolist() == [48, 64]


def test_images_without_any_action_stay(tmp_path):
    content = read(write_vcoco(tmp_path))
    assert content.image_ids.tolist() == [36, 49, 64, 9, 61]
    assert np.diff(content.relation_ptr).tolist() == [5, 0, 1, 5, 3]
    assert np.diff(content.instances.person_ptr).tolist() == [2, 1, 1, 1, 1]


def test_ground_truth_of_the_role_ap(tmp_path):
    arguments = read_metric_arguments(write_vcoco(tmp_path), "trainval")
    truth = arguments["ground_truth"]
    rows = {name: row for row, (name, _) in enumerate(arguments["actions"])}
    assert truth["id"].tolist() == [36, 49, 64, 9, 61]
    assert truth["size"][0].tolist() == [64, 48]
    assert truth["in_split"].all()
    assert truth["person"].tolist() == [1, 2, 0, 0, 0, 0]
    first = truth["actions"][0]
    assert {name for name, row in rows.items() if first[row]} == {"hold", "hit", "stand"}
    assert truth["roles"][0, rows["hit"]].tolist() == [0, -1]
    assert truth["roles"][0, rows["stand"]].tolist() == [-1, -1]
    assert truth["roles"][1, rows["look"]].tolist() == [1, -1]
    assert truth["actions"][2].sum() == 0
    assert truth["bbox"][0].tolist() == [30.0, 4.0, 12.25, 8.5]
    assert truth["bbox"].dtype == np.float64
    assert truth["ann_id"][:2].tolist() == [36_001, 36_002]
    assert arguments["verbs"] == NAMES.verbs
    assert arguments["actions"] == NAMES.actions
    assert arguments["category_ids"] == tuple(NAMES.coco_ids.tolist())
    assert arguments["validity"].shape == (29, 80)


def test_boxes_without_area_are_marked_for_the_role_ap(tmp_path):
    truth = read_metric_arguments(write_vcoco(tmp_path), "test")["ground_truth"]
    assert np.flatnonzero(truth["area"] == 0).tolist() == [5]


def test_a_hoia_list_gets_the_annotated_people_from_the_release_beside_it(tmp_path):
    folder = write_vcoco(tmp_path)
    write_vcoco(tmp_path, kind="hoia")
    assert find_source(folder, "test").kind == "hoia"
    listed = read_metric_arguments(folder)["ground_truth"]
    release = read_metric_arguments(folder, annotations="release")["ground_truth"]
    for key in release:
        np.testing.assert_array_equal(listed[key], release[key], err_msg=key)


def test_a_hoia_list_alone_trains_but_gives_no_role_ap(tmp_path):
    dataset = VCOCO(write_vcoco(tmp_path, kind="hoia"), "test")
    with pytest.raises(DatasetNotFoundError, match="does not tell which people were annotated") as caught:
        _ = dataset.ground_truth
    assert "vcoco_test.json" in str(caught.value)


def test_a_hoia_list_of_other_images_than_the_release_is_refused(tmp_path):
    folder = write_vcoco(tmp_path)
    write_vcoco(tmp_path, kind="hoia")
    edit(folder, "annotations/test_vcoco.json", lambda records: records.pop())
    with pytest.raises(AnnotationError, match=r"holds other images than .* \(1 differ, the first is 74\)"):
        read_metric_arguments(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (action("sit", label={2: 2}), r"record 2 \(image 49\): sit.label=2: neither 0 nor 1"),
        (action("sit", label={2: "1"}), r"record 2 \(image 49\): sit.label='1': not an integer"),
        (action("sit", ann_id={1: 7}), r"record 1 \(image 36\): sit.ann_id=7: not the person of the first action"),
        (action("sit", role_object_id={1: 7}), "sit.role_object_id=7: not the person of the first action"),
        (action("sit", image_id={0: 49}), "sit.image_id=49: not the image of the first action"),
        (action("hold", role_object_id={6: 999}), r"hold_obj.role_object_id=999: no annotation of this image"),
        (
            lambda content: content[1].update(action_name="stay"),
            r"not the 26 actions of V-COCO \(differing: stand, stay\)",
        ),
        (lambda content: content.pop(), "not the 26 actions"),
        (lambda content: content[0]["label"].pop(), "hold.label holds 5 values for 1 x 6 people"),
        (lambda content: content[6]["role_object_id"].pop(), "hit.role_object_id holds 17 values for 3 x 6 people"),
        (lambda content: content[0].update(role_name=["agent", "instr"]), "role_name of hold is"),
    ],
)
def test_bad_action_files_are_refused(tmp_path, change, message):
    folder = edit(write_vcoco(tmp_path), ACTIONS, change)
    with pytest.raises(AnnotationError, match=message):
        read(folder)


def test_a_person_listed_twice_is_named(tmp_path):
    def change(content):
        for entry in content:
            entry["ann_id"][1] = entry["role_object_id"][1] = entry["ann_id"][0]

    with pytest.raises(AnnotationError, match=r"record 1 \(image 36\): ann_id=36002: the person is listed twice"):
        read(edit(write_vcoco(tmp_path), ACTIONS, change))


def instance(number, **fields):
    def change(content):
        place = next(k for k, entry in enumerate(content["annotations"]) if entry["id"] == number)
        content["annotations"][place].update(fields)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (instance(36_002, bbox=[1, 2, 3]), r"\(image 36\): annotations.bbox=\[1, 2, 3\]: not four numbers"),
        (instance(36_002, bbox=[1, 2, "3", 4]), "not four numbers"),
        (instance(36_002, bbox=[1, 2, float("nan"), 4]), "not finite"),
        (instance(36_002, category_id=12), "annotations.category_id=12: unknown class id"),
        (instance(36_002, iscrowd="0"), "annotations.iscrowd='0': not an integer"),
        (instance(36_002, id=36_001), "annotations.id=36001: the id is used twice"),
        (instance(36_002, id=5_000), r"record 0 \(image 36\): ann_id=36002: its image has no such annotation"),
        (instance(36_002, image_id=49), r"record 0 \(image 36\): ann_id=36002: its image has no such annotation"),
        (lambda content: content["annotations"][0].pop("area"), "annotations.area=None: missing"),
        (lambda content: content["images"].pop(0), r"image_id=9: no such image in instances_train2014.json"),
        (lambda content: content["images"][1].update(height=0), r"images.height, width=\(0, 64\): no size"),
        (lambda content: content["images"][1].update(file_name=None), "images.file_name=None: no file name"),
        (lambda content: content.pop("images"), "no instance annotations of COCO"),
    ],
)
def test_bad_instances_are_refused(tmp_path, change, message):
    with pytest.raises(AnnotationError, match=message):
        read(edit(write_vcoco(tmp_path), INSTANCES, change))


def test_ids_of_another_split_are_refused(tmp_path):
    folder = write_vcoco(tmp_path)
    ids = folder / "data/splits/vcoco_trainval.ids"
    ids.write_text("36\n49\n64\n9\n62\n")
    with pytest.raises(AnnotationError, match=r"other images than vcoco_trainval.json \(2 differ, the first is 61\)"):
        read(folder)
    ids.write_text("<html>")
    with pytest.raises(AnnotationError, match="not a list of image ids"):
        read(folder)
    ids.unlink()
    assert len(read(folder).image_ids) == 5


def box(**fields):
    return lambda records: records[0]["annotations"][1].update(fields)


def hoi(**fields):
    return lambda records: records[0]["hoi_annotation"][1].update(fields)


def count_from_one(records):
    records[0]["hoi_annotation"] = [{"subject_id": 1, "object_id": -1, "category_id": verb} for verb in range(1, 30)]
    del records[1:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            box(bbox=[1, 2, float("inf"), 4]),
            r"record 0 \(image COCO_train2014_0+36.jpg\): annotations\[1\].bbox=.* not finite",
        ),
        (box(bbox=[1, 2, 3]), "not a list of four numbers"),
        (box(category_id=12), "category_id=12: unknown class id"),
        (box(category_id="1"), "not an integer"),
        (hoi(category_id=29), r"hoi_annotation\[1\].category_id=29: unknown verb id; expected 0..28"),
        (count_from_one, "ids of this file seem to count from 1"),
        (hoi(object_id=5), r"hoi_annotation\[1\].object_id=5: not a row of annotations; .* -1 stands for no object"),
        (hoi(object_id=-2), "object_id=-2: not a row of annotations"),
        (hoi(subject_id=-1), "subject_id=-1: not a row of annotations; rows count from 0"),
        (lambda records: records[2].pop("file_name"), r"record 2 \(image \?\): file_name=None: missing"),
        (lambda records: records[2].pop("hoi_annotation"), "hoi_annotation=None: missing or not a list"),
        (lambda records: records[0]["annotations"][1].pop("bbox"), "without bbox"),
        (lambda records: records.insert(0, 3), r"record 0 \(image \?\): record=3: not an object"),
        (lambda records: records[1].update(people=[0]), "image_id=None: missing, although people is there"),
        (lambda records: records.clear(), "no list of records"),
    ],
)
def test_bad_hoia_records_are_named(tmp_path, change, message):
    with pytest.raises(AnnotationError, match=message):
        read(edit(write_vcoco(tmp_path, kind="hoia"), HOIA, change))


def test_an_action_file_in_place_of_a_hoia_list_is_told_apart(tmp_path):
    folder = write_vcoco(tmp_path)
    with pytest.raises(AnnotationError, match="this is an action file of the release"):
        read(folder, annotations=folder / ACTIONS)


def test_what_is_missing_is_listed(tmp_path):
    folder = write_vcoco(tmp_path)
    with pytest.raises(ValueError, match="annotations='ppdm'"):
        find_source(folder, "test", "ppdm")
    with pytest.raises(DatasetNotFoundError, match=r"no HOIA list of the test split(?s:.)*test_vcoco\.json"):
        find_source(folder, "test", "hoia")
    with pytest.raises(DatasetNotFoundError, match="trainval and test only"):
        find_source(folder, "val", "hoia")
    (folder / INSTANCES).unlink()
    with pytest.raises(DatasetNotFoundError, match=r"2014 \(not 2017\)(?s:.)*instances_train2014\.json"):
        find_source(folder, "trainval")
    (folder / ACTIONS).unlink()
    (folder / "data/vcoco/vcoco_val.json").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"vcoco_train\.json and .*vcoco_val\.json"):
        find_source(folder, "trainval")


def test_the_fakes_hold_every_odd_kind():
    scenes = vcoco_scenes()
    assert any(scene.crowd for scene in scenes)
    assert any(not actions for scene in scenes for actions in scene.people.values())
    assert any(hoi["object_id"] == -1 for scene in scenes for hoi in hoia_record(scene)["hoi_annotation"])
    assert {len(entry["role_name"]) for entry in action_file(scenes)} == {1, 2, 3}
