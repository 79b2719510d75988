"""Open Images v6, scene graphs: files, label space, dataset, what is refused."""

import json

import numpy as np
import pytest
import torch

from rlipv2.datasets import AnnotationError, DatasetNotFoundError, ImageFileError, OpenImagesSGG
from rlipv2.datasets.open_images import read_label_space
from rlipv2.datasets.open_images.files import find_root
from rlipv2.structures import LabelSpace
from tests.fakes import OPEN_IMAGES_OBJECTS, OPEN_IMAGES_RELATIONS, write_image, write_json, write_open_images

TRAIN, TEST = "annotations/vrd-train-anno.json", "annotations/vrd-test-anno.json"
OCCURRING = "annotations/OI_SGG_trainval_test_categories_dict.json"


@pytest.fixture
def folder(tmp_path):
    return write_open_images(tmp_path)


def edit(folder, change, name=TRAIN):
    records = json.loads((folder / name).read_text())
    change(records)
    (folder / name).write_text(json.dumps(records))
    return folder


def test_label_space_is_what_occurs_in_any_split_in_file_order(folder):
    assert read_label_space(folder) == LabelSpace(("Man", "Beer", "Chair", "Woman"), OPEN_IMAGES_RELATIONS)
    assert read_label_space(folder, objects="all").objects == OPEN_IMAGES_OBJECTS


def test_texts_can_be_written_as_in_pre_training(folder):
    space = read_label_space(folder, spelling="words")
    assert (space.objects[0], space.relations[2]) == ("man", "inside of")
    sample = OpenImagesSGG(folder, "test", label_space=space)[0]
    assert sample.annotation.labels.tolist() == [0, 2, 2]


def test_both_formats_hold_the_same(tmp_path):
    ours, theirs = write_open_images(tmp_path / "a"), write_open_images(tmp_path / "b", kind="rlipv2")
    for split in ("train", "test"):
        one, other = OpenImagesSGG(ours, split), OpenImagesSGG(theirs, split)
        assert one.label_space == other.label_space
        for name in ("boxes", "labels", "box_ptr", "relations", "relation_ptr"):
            np.testing.assert_array_equal(getattr(one.records, name), getattr(other.records, name))
    assert one.records.sizes.tolist() == [[48, 64]] * 4
    assert not other.records.sizes.any()


def test_the_format_can_be_chosen(tmp_path):
    folder = write_open_images(tmp_path)
    write_open_images(tmp_path, kind="rlipv2")
    assert OpenImagesSGG(folder).annotation_file.name == "vrd-train-anno.json"
    assert OpenImagesSGG(folder, annotations="rlipv2").annotation_file.name == "OI_SGG_train_finetuning.json"


def test_samples_hold_labels_of_the_label_space(folder):
    sample = OpenImagesSGG(folder, "train")[0]
    assert sample.image.shape == (3, 48, 64)
    assert sample.annotation.labels.tolist() == [0, 1, 2]
    assert sample.annotation.relations.tolist() == [[0, 1, 1], [2, 0, 0], [0, 1, 2]]
    assert sample.annotation.boxes_xyxy[0].tolist() == [2, 3, 20, 40]


def test_images_without_relations_or_boxes_stay(folder):
    train, test = OpenImagesSGG(folder, "train"), OpenImagesSGG(folder, "test")
    assert (len(train), len(test)) == (5, 4)
    assert len(test[3].annotation.boxes_xyxy) == 0
    assert test[2].annotation.relations.shape == (0, 3)


def test_triplets_are_subject_relation_object(folder):
    assert OpenImagesSGG(folder, "test").triplets[:3].tolist() == [[0, 1, 2], [2, 0, 0], [0, 2, 2]]


def test_first_boxes_count_in_training_only(folder):
    assert OpenImagesSGG(folder, "train", max_boxes=2).records.relations[:, :2].max() == 1
    assert len(OpenImagesSGG(folder, "test", max_boxes=2).records.boxes) == 9


def test_training_clamps_boxes_and_drops_those_without_area(folder):
    edit(folder, lambda records: records[0].update(bbox=[[-5, 3, 90, 40], [10, 5, 10, 30], [30, 20, 60, 45]]))
    trained, evaluated = OpenImagesSGG(folder)[0].annotation, OpenImagesSGG(folder, training=False)[0].annotation
    assert trained.boxes_xyxy.tolist() == [[0, 3, 64, 40], [30, 20, 60, 45]]
    assert trained.relations.tolist() == [[1, 0, 0]]
    assert (len(evaluated.boxes_xyxy), len(evaluated.relations)) == (3, 3)


def test_training_skips_images_with_relations_to_missing_boxes(folder):
    edit(folder, lambda records: records[1]["rel"].append([0, 7, 1]))
    with pytest.raises(AnnotationError, match=r"record 1 .*rel=\[0, 7\]: the image has 3 boxes.*1 of 5 images"):
        OpenImagesSGG(folder)
    data = OpenImagesSGG(folder, max_skip_rate=0.2)
    assert (len(data), data.counts["images skipped for a relation to a missing box"]) == (4, 1)


def test_evaluation_needs_every_image(folder):
    edit(folder, lambda records: records[1]["rel"].append([0, 7, 1]), TEST)
    with pytest.raises(AnnotationError, match="evaluation cannot leave images out"):
        OpenImagesSGG(folder, "test", max_skip_rate=1.0)


def test_boxes_follow_images_of_another_scale(folder):
    name = OpenImagesSGG(folder, "test").records.file_names[0]
    write_image(folder / "images" / name, (24, 32))
    boxes = OpenImagesSGG(folder, "test")[0].annotation.boxes_xyxy
    torch.testing.assert_close(boxes[0], torch.tensor([1.0, 1.5, 10.0, 20.0]))
    with pytest.raises(ImageFileError, match=r"it has 32 x 24 pixels, .*says 64 x 48; .*or set rescale_boxes"):
        OpenImagesSGG(folder, "test", rescale_boxes=False)[0]


def test_images_of_another_shape_are_refused(folder):
    name = OpenImagesSGG(folder, "test").records.file_names[0]
    write_image(folder / "images" / name, (64, 48))
    with pytest.raises(ImageFileError, match="boxes belong to another copy of the image"):
        OpenImagesSGG(folder, "test")[0]


def test_listed_classes_are_used_where_they_are_listed(folder):
    write_json(folder / OCCURRING, {"obj": ["Chair", "Man", "Beer", "Woman"], "rel": list(OPEN_IMAGES_RELATIONS)})
    assert read_label_space(folder).objects == ("Chair", "Man", "Beer", "Woman")
    (folder / "annotations/vrd-val-anno.json").unlink()
    assert len(OpenImagesSGG(folder, "test")) == 4


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["Man", "Robot"], "'Robot' is not in categories_dict.json"),
        (["Man", "Beer"], r"label of box 2=.Chair.: not one of the 2 objects of the label space"),
    ],
)
def test_listed_classes_of_another_package_are_refused(folder, names, message):
    write_json(folder / OCCURRING, {"obj": names, "rel": list(OPEN_IMAGES_RELATIONS)})
    with pytest.raises(AnnotationError, match=message):
        OpenImagesSGG(folder)


def test_counting_the_classes_needs_all_splits(folder):
    (folder / "annotations/vrd-val-anno.json").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"vrd-val-anno.json: annotation file not found"):
        OpenImagesSGG(folder, "test")
    assert len(OpenImagesSGG(folder, "test", label_space=read_label_space(folder, objects="all"))) == 4


def vrd(**changes):
    return lambda records: records[1].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (vrd(bbox=[[1, 2, 3]] * 3), r"bbox\[0\]=\[1, 2, 3\]: not a list of four numbers"),
        (vrd(bbox=[["1", 2, 3, 4]] * 3), "not four numbers"),
        (vrd(bbox=[[1, 2, float("nan"), 4]] * 3), "not finite"),
        (vrd(bbox=[[1, 2, 3, 4]]), r"\(boxes, det_labels\)=\(1, 3\): lengths differ"),
        (vrd(det_labels=[0, 1, 6]), r"det_labels\[2\]=6: unknown class id; expected 0..5, as many as categories_dict"),
        (vrd(det_labels=[0, 1, -1]), "unknown class id"),
        (vrd(det_labels=[0, 1, "2"]), "not an integer"),
        (vrd(rel=[[0, 1]]), r"rel\[0\]=\[0, 1\]: not three numbers"),
        (vrd(rel=[[0, 1, 3]]), "unknown class id; expected 0..2"),
        (vrd(rel=[[0, -1, 1]]), "not a box of the image"),
        (vrd(rel=[[0, 1.5, 1]]), "not an integer"),
        (vrd(rel=None), "rel=None: missing, or of another type"),
        (vrd(img_fn=5), "img_fn=5: missing"),
        (vrd(img_size=[64, 0]), r"img_size=\[64, 0\]: not an image size"),
        (vrd(img_size=None), "img_size=None: not an image size"),
        (lambda records: records.__setitem__(1, 4), "record=4: missing, or of another type"),
    ],
)
def test_bad_values_name_file_record_and_image(folder, change, message):
    edit(folder, change)
    with pytest.raises(AnnotationError, match=message) as raised:
        OpenImagesSGG(folder, label_space=read_label_space(folder, objects="all"))
    assert str(raised.value).startswith(f"{folder / TRAIN}: record 1 (image ")


def test_class_ids_that_count_from_one_get_a_hint(folder):
    def add_one(records):
        for record in records:
            record["det_labels"] = [label + 1 for label in record["det_labels"]]
            record["rel"] = [[subject, target, relation + 1] for subject, target, relation in record["rel"]]

    edit(folder, add_one)
    with pytest.raises(AnnotationError, match="seem to count from 1"):
        OpenImagesSGG(folder, label_space=read_label_space(folder, objects="all"))


@pytest.mark.parametrize("entry", [{"bbox": [1, 2, 3, 4]}, [1, 2, 3, 4]])
def test_bad_entries_of_converted_files_are_named(tmp_path, entry):
    folder = write_open_images(tmp_path, kind="rlipv2")
    name = "annotations/OI_SGG_test.json"
    edit(folder, lambda records: records[1]["annotations"].__setitem__(0, entry), name)
    with pytest.raises(AnnotationError, match=r"record 1 .*annotations\[0\]=.*not an entry of this list"):
        OpenImagesSGG(folder, "test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"obj": ["a"]}, "'rel' is not a list of names"),
        ([], "'obj' is not a list of names"),
        ({"obj": ["a", "a"], "rel": ["b"]}, "'obj' lists 'a' twice"),
        ({"obj": ["a", 3], "rel": ["b"]}, "'obj' is not a list of names"),
    ],
)
def test_bad_class_lists_are_refused(folder, content, message):
    write_json(folder / "annotations/categories_dict.json", content)
    with pytest.raises(AnnotationError, match=message):
        read_label_space(folder)


def test_a_file_of_something_else_is_refused(folder):
    write_json(folder / TRAIN, {"images": []})
    with pytest.raises(AnnotationError, match="not a list of records"):
        OpenImagesSGG(folder)


def test_the_folder_is_found_in_the_one_that_holds_it(folder):
    assert find_root(folder.parent) == find_root(folder) == folder
    (folder / "annotations/categories_dict.json").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"vrd-train-anno.json.*\n.*data/open_image_v6/README.md"):
        find_root(folder)


def test_missing_files_tell_what_was_looked_for(folder):
    (folder / TEST).unlink()
    with pytest.raises(DatasetNotFoundError, match=r"test split. Looked for\n.*vrd-test.*\n.*OI_SGG_test.json"):
        OpenImagesSGG(folder, "test")
    with pytest.raises(DatasetNotFoundError, match="val split"):
        OpenImagesSGG(folder, "val", annotations="rlipv2")


def test_missing_images_are_counted_and_named(folder):
    (folder / "images/a000000000000001.jpg").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"images are missing \(a000000000000001.jpg\).*check open_images"):
        OpenImagesSGG(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "trainval"}, "split='trainval'"),
        ({"annotations": "mat"}, "annotations='mat': expected one of 'auto', 'vrd', 'rlipv2'"),
        ({"max_skip_rate": 2}, "max_skip_rate=2"),
        ({"max_boxes": 0}, "max_boxes=0"),
    ],
)
def test_options_out_of_range_are_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        OpenImagesSGG(folder, **options)


@pytest.mark.parametrize("options", [{"objects": "some"}, {"spelling": "long"}])
def test_unknown_label_spaces_are_refused(folder, options):
    with pytest.raises(ValueError, match="expected 'occurring' or 'all'"):
        read_label_space(folder, **options)
