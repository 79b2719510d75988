"""The images to be labelled, from the real layouts and from one's own files."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from rlipv2.datasets.detection import read_instances
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.pseudo_labels.source import custom_images, detection_images
from rlipv2.vocabularies import load
from tests.fakes_detection import annotation_path, write_detection


@pytest.fixture
def coco(tmp_path):
    return write_detection(tmp_path / "coco", num_train=5, num_val=3)


def read_all(images):
    return images.read(range(len(images)))


def test_coco_is_train_then_val_sorted_by_id_without_unlabelled_images(coco):
    images = detection_images(coco)
    assert images.image_ids.tolist() == [11, 13, 14, 15, 511, 513]  # 12 and 512 have no box
    found = read_all(images)
    assert [image.image_id for image in found] == images.image_ids.tolist()
    assert [image.split for image in found] == ["train2017"] * 4 + ["val2017"] * 2
    assert all(images.path(image).is_file() for image in found)
    assert images.dataset == "coco2017"
    assert images.names == load("coco").names
    assert len(detection_images(coco, unlabelled="keep")) == 8
    assert detection_images(coco, limit=1, splits=["val"]).image_ids.tolist() == [511]


def test_images_have_all_boxes_in_file_order_crowd_and_degenerate_ones_too(coco):
    records = read_instances(coco / annotation_path("train", "coco"), load("coco"))
    images = {image.image_id: image for image in read_all(detection_images(coco))}
    for row, image_id in enumerate(records.image_ids.tolist()):
        boxes = slice(int(records.box_ptr[row]), int(records.box_ptr[row + 1]))
        if image_id not in images:
            assert boxes.start == boxes.stop
            continue
        image = images[image_id]
        assert image.boxes_xywh.tolist() == records.boxes[boxes].tolist()
        assert image.labels.tolist() == records.labels[boxes].tolist()
        assert image.crowd.tolist() == records.crowd[boxes].tolist()
        assert image.size == (48, 64)
    assert images[11].crowd.any()
    assert (images[13].boxes_xywh[:, 2] == 0).any()


def test_ids_are_sorted_whatever_the_order_of_the_file(coco):
    path = coco / annotation_path("train", "coco")
    before = read_all(detection_images(coco))
    content = json.loads(path.read_text())
    content["images"].reverse()
    path.write_text(json.dumps(content))
    after = read_all(detection_images(coco))
    assert [image.image_id for image in after] == [image.image_id for image in before]
    assert [image.boxes_xywh.tolist() for image in after] == [image.boxes_xywh.tolist() for image in before]


def test_units_are_read_across_parts(coco):
    images = detection_images(coco)
    cut = [image.image_id for start in range(0, 6, 4) for image in images.read(range(start, min(start + 4, 6)))]
    assert cut == images.image_ids.tolist()
    again = pickle.loads(pickle.dumps(images))
    assert [image.image_id for image in again.read(range(3, 6))] == [15, 511, 513]


def test_images_that_no_copy_of_objects365_has_are_left_out(tmp_path):
    root = write_detection(tmp_path, "objects365", num_train=3, num_val=3)
    path = root / annotation_path("train", "objects365")
    content = json.loads(path.read_text())
    old = content["images"][0]["id"]
    content["images"][0]["id"] = 908726
    for annotation in content["annotations"]:
        if annotation["image_id"] == old:
            annotation["image_id"] = 908726
    path.write_text(json.dumps(content))
    images = detection_images(root, "objects365")
    assert 908726 not in images.image_ids.tolist()
    assert images.dataset == "o365"
    assert {image.split for image in read_all(images)} == {"train", "val"}
    assert all(images.path(image).is_file() for image in read_all(images))


def test_identity_tells_images_boxes_and_rules_apart(coco):
    identity = detection_images(coco).identity()
    assert identity == json.loads(json.dumps(detection_images(coco).identity()))
    assert identity["images"] == 6
    assert detection_images(coco, unlabelled="keep").identity()["image_ids"] != identity["image_ids"]
    path = coco / annotation_path("val", "coco")
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"][0] += 1
    path.write_text(json.dumps(content))
    changed = detection_images(coco).identity()
    assert changed["image_ids"] == identity["image_ids"]
    assert changed["parts"][1] != identity["parts"][1]
    assert changed["parts"][0] == identity["parts"][0]


def own_file(tmp_path, **changes):
    """Two own classes with odd ids; the folder of images is another one than that of the file."""
    (tmp_path / "pictures").mkdir(exist_ok=True)
    content = {
        "categories": [{"id": 7, "name": "robot"}, {"id": 3, "name": "cup"}],
        "annotations": [
            {"image_id": 2, "category_id": 3, "bbox": [1, 2, 3, 4]},
            {"image_id": 2, "category_id": 7, "bbox": [5, 6, 7, 8], "iscrowd": 1},
        ],
        "images": [
            {"id": 2, "file_name": "b/2.png", "height": 20, "width": 30},
            {"id": 1, "file_name": "1.png", "height": 40, "width": 50},
        ],
    }
    path = tmp_path / "own.json"
    path.write_text(json.dumps(content | changes))
    return path


def test_own_files_bring_their_classes(tmp_path):
    path = own_file(tmp_path)
    for _ in range(2):  # the second time from the index
        images = custom_images(path, tmp_path / "pictures", dataset="kitchen")
        assert images.names == ("robot", "cup")
    first, second = read_all(images)
    assert (first.image_id, len(first.labels), first.size) == (1, 0, (40, 50))
    assert (second.image_id, second.labels.tolist(), second.crowd.tolist()) == (2, [1, 0], [False, True])
    assert images.path(second) == tmp_path / "pictures/b/2.png"
    assert images.dataset == "kitchen"
    assert len(custom_images(path, tmp_path / "pictures", unlabelled="drop")) == 1


def test_changed_classes_of_an_own_file_are_seen(tmp_path):
    custom_images(own_file(tmp_path), tmp_path / "pictures")
    categories = [{"id": 7, "name": "android"}, {"id": 3, "name": "cup"}]
    assert custom_images(own_file(tmp_path, categories=categories), tmp_path / "pictures").names == ("android", "cup")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"categories": [{"id": 3, "name": "cup"}]}, r"own.json: record 1 \(image 2\): annotations.category_id=7"),
        ({"categories": []}, "no list 'categories', or an empty one"),
        ({"categories": [{"id": 3, "name": "cup"}, {"id": 7, "name": "cup"}]}, "a name is listed twice"),
        ({"categories": [{"id": 3, "name": "cup"}, {"id": 3, "name": "robot"}]}, "an id is listed twice"),
        ({"images": [{"id": 2, "file_name": "2.png", "height": 0, "width": 1}]}, "images.height=0"),
        ({"annotations": [{"image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4]}]}, "no such image in this file"),
    ],
)
def test_unusable_own_files_are_refused(tmp_path, changes, told):
    with pytest.raises(AnnotationError, match=told):
        custom_images(own_file(tmp_path, **changes), tmp_path / "pictures")


def test_missing_paths_are_told(tmp_path):
    with pytest.raises(ValueError, match=r"source\.annotations: not given"):
        custom_images(None, tmp_path)
    with pytest.raises(ValueError, match=r"source\.images: not given"):
        custom_images(own_file(tmp_path), None)
    with pytest.raises(DatasetNotFoundError, match="folder of images not found"):
        custom_images(own_file(tmp_path), tmp_path / "nowhere")
    with pytest.raises(DatasetNotFoundError, match=r"nothing\.json"):
        custom_images(tmp_path / "nothing.json", tmp_path / "pictures")
    with pytest.raises(DatasetNotFoundError, match="no annotations of the train split"):
        detection_images(tmp_path)


def test_options_out_of_range_are_refused(coco):
    for options in ({"limit": 0}, {"unlabelled": "maybe"}, {"splits": ["test"]}):
        (name,) = options
        with pytest.raises(ValueError, match=name):
            detection_images(coco, **options)
    with pytest.raises(ValueError, match="layout"):
        detection_images(coco, "cococo")


def test_an_image_in_two_parts_is_refused(coco):
    path = coco / annotation_path("val", "coco")
    content = json.loads(path.read_text())
    content["images"].append(content["images"][1] | {"id": 11})
    content["annotations"].append(content["annotations"][0] | {"image_id": 11})
    path.write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match="image 11 is in another part too"):
        detection_images(coco)


def test_reading_leaves_no_file_mapped(coco):
    images = detection_images(coco)
    found = read_all(images)
    assert all(isinstance(image.boxes_xywh, np.ndarray) and image.boxes_xywh.base is None for image in found)
    maps = Path("/proc/self/maps")
    assert not maps.exists() or str(coco) not in maps.read_text()
