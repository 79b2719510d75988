"""The files of a user's own data: what is read, what is written, and what is refused."""

import json

import numpy as np
import pytest

from rlipv2.datasets import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.custom import read_custom, read_label_space, write_custom
from rlipv2.datasets.custom.names import relabel
from rlipv2.datasets.custom.read import parse_custom
from rlipv2.structures import LabelSpace
from tests.fakes import custom_images, write_custom_data, write_json


def written(tmp_path, images, **top):
    path = tmp_path / "annotations/train.json"
    write_json(path, top | {"images": images})
    return path


def edited(tmp_path, edit, **top):
    images = custom_images("train", 3)
    edit(images)
    return written(tmp_path, images, **top)


def box_1(box):
    return lambda images: images[1]["objects"][1].update(box=box)


def relation_1(**changes):
    return lambda images: images[1]["relations"][0].update(changes)


def test_names_are_sorted_where_none_are_listed(tmp_path):
    content = read_custom(written(tmp_path, custom_images("train", 2)))
    assert (content.objects, content.relations) == (("bicycle", "person"), ("next to", "riding"))
    records = content.records
    assert records.labels.tolist() == [1, 0, 1] * 2
    assert records.relations[:3].tolist() == [[0, 1, 1], [0, 2, 0], [0, 1, 0]]
    assert records.box_ptr.tolist() == [0, 3, 6]
    assert records.sizes.tolist() == [[0, 0], [48, 64]]
    assert records.image_ids.tolist() == [0, 1]
    np.testing.assert_array_equal(records.boxes[1], [10.5, 20, 40, 47.5])


def test_listed_names_keep_their_order_and_may_be_more(tmp_path):
    path = written(
        tmp_path, custom_images("train", 1), objects=["person", "dog", "bicycle"], relations=["riding", "next to"]
    )
    content = read_custom(path)
    assert content.objects == ("person", "dog", "bicycle")
    assert content.records.labels.tolist() == [0, 2, 0]
    assert content.records.relations[:, 2].tolist() == [0, 1, 1]


def test_images_without_objects_or_relations_are_kept(tmp_path):
    content = read_custom(written(tmp_path, [{"file_name": "a.jpg", "objects": [], "relations": []}]))
    assert (len(content.records), len(content.records.boxes), content.records.relations.shape) == (1, 0, (0, 3))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (box_1([1, 2, 3]), r"objects\[1\].box=\[1, 2, 3\]: not four numbers"),
        (box_1(["1", 2, 3, 4]), "not four numbers"),
        (box_1([True, 2, 3, 4]), "not four numbers"),
        (box_1({"x": 1}), "not four numbers"),
        (box_1([1, 2, float("nan"), 4]), "not finite"),
        (box_1([1, 2, float("inf"), 4]), "not finite"),
        (box_1([5, 2, 5, 4]), "x2 <= x1 or y2 <= y1; .*is this x, y, width, height"),
        (box_1([50, 20, 10, 30]), "x2 <= x1 or y2 <= y1"),
        (relation_1(subject=3), r"relations\[0\].subject=3: the image has 3 objects; .*counted from 0"),
        (relation_1(object=-1), r"relations\[0\].object=-1: the image has 3 objects"),
        (relation_1(object="1"), "not an integer"),
        (relation_1(object=None), "not an integer"),
        (relation_1(subject=True), "not an integer"),
        (relation_1(name=7), r"relations\[0\].name=7: is not a string"),
        (relation_1(name=" "), "is blank"),
        (lambda images: images[1]["objects"][0].update(name="no objects"), "is the text for the background"),
        (lambda images: images[1]["relations"][0].pop("name"), "not an object with subject, name and object"),
        (lambda images: images[1]["objects"].__setitem__(0, [1, 2, 3, 4]), "not an object with name and box"),
        (lambda images: images[1].pop("relations"), "relations=None: missing or not a list; write"),
        (lambda images: images[1].update(objects={}), r"objects=\{\}: missing or not a list"),
        (lambda images: images[1].update(width=64.5), "not a size in pixels"),
        (lambda images: images[1].pop("height"), "not a size in pixels"),
        (lambda images: images[1].update(file_name=""), "file_name='': missing or not a name"),
        (lambda images: images[1].update(file_name=3), "file_name=3: missing or not a name"),
        (lambda images: images[1].update(file_name="../a.png"), "not inside the image folder"),
        (lambda images: images[1].update(file_name="/data/a.png"), "not inside the image folder"),
        (lambda images: images[1].update(file_name="train\\a.png"), "with forward slashes"),
        (
            lambda images: images[1].update(file_name="./train/0.png"),
            "listed in record 0 already; join the two records",
        ),
        (lambda images: images.__setitem__(1, "a.png"), "not an object"),
    ],
)
def test_bad_records_are_named(tmp_path, edit, message):
    path = edited(tmp_path, edit)
    with pytest.raises(AnnotationError, match=message) as raised:
        read_custom(path)
    assert str(raised.value).startswith(f"{path}: record 1 (image ")


def test_names_outside_of_a_list_are_refused(tmp_path):
    path = written(tmp_path, custom_images("train", 2), objects=["person", "bike"])
    with pytest.raises(AnnotationError, match=r"name='bicycle': not in the list of objects .*person, bike"):
        read_custom(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"file_name": "a.jpg"}], "the top level is a list"),
        ({"images": []}, "the list of images is empty"),
        ({"image": []}, "no list of images"),
        ({"images": [], "annotations": [], "categories": []}, "this looks like COCO: .*convert custom"),
        ({"format": "rlipv2-relations/2", "images": [{}]}, "format='rlipv2-relations/2'.*this release reads"),
        ({"objects": "person", "images": [{}]}, "objects at the top level: not a list of names"),
        ({"objects": [], "images": [{}]}, "objects at the top level: not a list of names"),
        ({"objects": ["a", "a"], "images": [{}]}, "'a' is listed twice"),
        ({"relations": ["a", ""], "images": [{}]}, "relations at the top level: '' is blank"),
        ({"objects": ["no objects"], "images": [{}]}, "is the text for the background"),
    ],
)
def test_files_of_another_build_are_refused(tmp_path, content, message):
    path = tmp_path / "annotations/train.json"
    write_json(path, content)
    with pytest.raises(AnnotationError, match=message):
        read_custom(path)


def test_a_missing_file_points_to_the_description(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"docs/custom_data.md"):
        read_custom(tmp_path / "annotations/train.json")


def test_everything_wrong_is_collected_and_counted(tmp_path):
    def edit(images):
        images[0]["objects"][0]["box"] = [4, 4, 4, 4]
        images[2]["relations"][1]["object"] = 9

    path = edited(tmp_path, edit)
    content = parse_custom(path)
    assert [(problem.rule, problem.record) for problem in content.problems] == [("area", 0), ("relation", 2)]
    assert np.diff(content.records.box_ptr).tolist() == [0, 3, 0]
    with pytest.raises(AnnotationError, match=r"record 0 .*\(and 1 more like it\).*check custom"):
        read_custom(path)


def test_unknown_keys_are_counted(tmp_path):
    content = parse_custom(edited(tmp_path, lambda images: images[1]["objects"][0].update(score=1), licence="mine"))
    assert content.ignored == {"file.licence": 1, "object.score": 1}


def test_what_is_written_is_read_again(tmp_path):
    content = read_custom(written(tmp_path, custom_images("train", 3)))
    space = LabelSpace(content.objects, content.relations)
    path = write_custom(tmp_path / "copy", "val", content.records, space)
    assert path == tmp_path / "copy/annotations/val.json"
    again = read_custom(path)
    assert (again.objects, again.relations) == (content.objects, content.relations)
    for name in ("image_ids", "sizes", "boxes", "labels", "box_ptr", "relations", "relation_ptr"):
        np.testing.assert_array_equal(getattr(again.records, name), getattr(content.records, name))
    assert again.records.file_names == content.records.file_names


def test_written_boxes_are_the_shortest_that_read_as_the_same(tmp_path):
    images = custom_images("train", 1)
    images[0]["objects"][0]["box"] = [0.1, 2, 33.3, 1 / 3 + 20]
    content = read_custom(written(tmp_path, images))
    path = write_custom(
        tmp_path, "val", content.records, LabelSpace(content.objects, content.relations), list_names=False
    )
    text = path.read_text()
    assert "[0.1, 2, 33.3, 20.333334]" in text
    assert "objects" not in json.loads(text).keys() - {"images"}
    np.testing.assert_array_equal(read_custom(path).records.boxes, content.records.boxes)


def test_relations_without_object_cannot_be_written(tmp_path):
    content = read_custom(written(tmp_path, custom_images("train", 1)))
    content.records.relations[0, 1] = -1
    with pytest.raises(ValueError, match="without object"):
        write_custom(tmp_path, "val", content.records, LabelSpace(content.objects, content.relations))


def with_new_words(tmp_path):
    test = custom_images("test", 2)
    test[1]["objects"][1]["name"], test[1]["relations"][0]["name"] = "boat", "rowing"
    return write_custom_data(tmp_path, splits={"train": custom_images("train", 2), "test": test})


def test_label_space_is_that_of_training(tmp_path):
    root = with_new_words(tmp_path)
    space = read_label_space(root)
    assert space == LabelSpace(("bicycle", "person"), ("next to", "riding"))
    test = read_custom(root / "annotations/test.json")
    with pytest.raises(
        AnnotationError, match=r"test.json: record 1 .*objects\[1\].name='boat': not among the 2 objects"
    ):
        relabel(test, space)


def test_label_space_of_all_splits_adds_new_words_behind(tmp_path):
    root = with_new_words(tmp_path)
    space = read_label_space(root, "all", ("train", "val", "test"))
    assert space == LabelSpace(("bicycle", "person", "boat"), ("next to", "riding", "rowing"))
    records = relabel(read_custom(root / "annotations/test.json"), space)
    assert records.labels[3:].tolist() == [1, 2, 1]
    assert records.relations[3:, 2].tolist() == [2, 0, 0]


def test_label_space_needs_the_training_split_or_all(tmp_path):
    root = with_new_words(tmp_path)
    (root / "annotations/train.json").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"give data\.label_space=all"):
        read_label_space(root)
    assert "boat" in read_label_space(root, "all", ("train", "val", "test")).objects
    with pytest.raises(ValueError, match="label_space='some'"):
        read_label_space(root, "some")


def test_label_space_without_any_relation_is_refused(tmp_path):
    path = written(
        tmp_path, [{"file_name": "a.jpg", "objects": [{"name": "cat", "box": [0, 0, 2, 2]}], "relations": []}]
    )
    with pytest.raises(AnnotationError, match="no image has any relations"):
        read_label_space(path.parent.parent)
