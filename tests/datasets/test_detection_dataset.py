import json
import pickle

import numpy as np
import pytest
import torch

from rlipv2.datasets import AnnotationError, COCODetection, DatasetNotFoundError
from rlipv2.datasets.__main__ import main
from rlipv2.datasets.detection import read_any_instances, read_instances
from rlipv2.datasets.detection.check import check_detection
from rlipv2.vocabularies import load
from tests.fakes_detection import annotation_path, instances, stored_path, write_detection


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    return write_detection(tmp_path_factory.mktemp("coco"))


@pytest.fixture(scope="module")
def objects365(tmp_path_factory):
    return write_detection(tmp_path_factory.mktemp("objects365"), "objects365")


def test_training_leaves_out_crowds_and_boxes_without_area_and_keeps_empty_images(coco):
    dataset, content = COCODetection(coco, "train"), instances("train", "coco", 6)
    kept = [record for record in content["annotations"] if not record["iscrowd"] and record["bbox"][2] > 0]
    assert dataset.counts["crowd regions dropped"] == 1
    assert dataset.counts["boxes without area in the image dropped"] == 1
    assert dataset.counts["boxes"] == len(kept)
    assert [len(dataset[index].annotation.labels) for index in range(6)] == [
        sum(record["image_id"] == 11 + index for record in kept) for index in range(6)
    ]
    assert len(dataset[1].annotation.labels) == 0


def test_training_boxes_are_corners_cut_to_the_image(coco):
    sample = COCODetection(coco, "train")[2]
    assert sample.original_size == (48, 64)
    assert [54.0, 5.0, 64.0, 15.0] in sample.annotation.boxes_xyxy.tolist()
    assert sample.annotation.relations.shape == (0, 3)


def test_labels_are_rows_of_the_names_found_by_id_not_by_position(coco, objects365):
    for root, layout in ((coco, "coco"), (objects365, "objects365")):
        dataset, vocabulary = COCODetection(root, "val", layout=layout), load(layout)
        expected = [record for record in instances("val", layout, 4)["annotations"] if record["image_id"] == 513]
        annotation = dataset[2].annotation
        assert annotation.image_id == 513
        assert vocabulary.category_ids[annotation.labels].tolist() == [record["category_id"] for record in expected]
        np.testing.assert_allclose(
            annotation.boxes_xyxy[:, 2:] - annotation.boxes_xyxy[:, :2],
            [record["bbox"][2:] for record in expected],
            rtol=1e-5,
        )


def test_evaluation_keeps_crowds_in_the_records_only(coco):
    dataset = COCODetection(coco, "val")
    assert dataset.records.crowd.sum() == 1
    owned = slice(*dataset.records.box_ptr[:2])
    assert dataset.records.crowd[owned].any()
    assert len(dataset[0].annotation.labels) == (~dataset.records.crowd[owned]).sum()
    assert dataset.records.boxes.dtype == np.float64


def test_objects365_images_lie_in_patches_of_their_split(objects365):
    dataset = COCODetection(objects365, "train", layout="objects365")
    assert dataset.records.file_name(0) == "train/patch1/objects365_v1_00000011.jpg"
    assert dataset[0].image.shape == (3, 48, 64)
    assert dataset[1].image.shape == (3, 48, 64)  # greyscale on disk
    assert dataset.label_space.objects == load("objects365").names


def test_a_transform_is_applied_and_datasets_can_be_sent_to_workers(coco):
    dataset = pickle.loads(pickle.dumps(COCODetection(coco, "val")))
    dataset.transform = lambda sample: sample.image.float().mean()
    assert 0 < float(dataset[0]) < 255


@pytest.fixture
def broken(tmp_path):
    """A folder whose annotations can be changed."""
    root = write_detection(tmp_path / "broken")
    path = root / annotation_path("train", "coco")

    def change(edit):
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))
        return root

    return change


BAD = [
    (
        lambda c: c["annotations"][3].update(bbox=[1, 2, 3]),
        r"record 3 \(image 1\d\): annotations.bbox=\[1, 2, 3\]: not f",
    ),
    (lambda c: c["annotations"][3].update(bbox=["1", 2, 3, 4]), "annotations.bbox=.*not four numbers"),
    (lambda c: c["annotations"][0].update(bbox=[0, 0, float("nan"), 1]), "annotations.bbox=.*not finite"),
    (lambda c: c["annotations"][2].update(image_id=9), "record 2 .image 9.: annotations.image_id=9: no such image"),
    (lambda c: c["annotations"][2].pop("image_id"), "annotations.image_id=None: no integer"),
    (lambda c: c["annotations"][2].update(category_id=12), "annotations.category_id=12: no category id"),
    (lambda c: c["annotations"][2].update(category_id=0), "category_id=0: .*look like rows from 0"),
    (lambda c: c["annotations"][2].update(iscrowd=2), "annotations.iscrowd=2: neither 0 nor 1"),
    (lambda c: c["annotations"][2].update(area=-1.0), "annotations.area=-1.0: not a number from 0"),
    (lambda c: c["annotations"][2].update(area="9"), "annotations.area='9': not a number"),
    (lambda c: c["images"][2].update(id=11), r"record 2 \(image 11\): images.id=11: the image is listed twice"),
    (lambda c: c["images"][2].update(id="13"), "images.id='13': no integer"),
    (lambda c: c["images"][1].update(file_name=None), "images.file_name=None: no file name"),
    (lambda c: c["images"][1].update(height=0), "images.height=0: no size"),
    (lambda c: c["categories"][0].update(name="sofa"), r"categories\[0\]: id=72, name='sofa': this id is 'tv'"),
    (lambda c: c["categories"][0].update(id=400), "no class of the vocabulary has this id"),
    (lambda c: c["categories"].__setitem__(0, "tv"), r"categories\[0\] has no id and name"),
    (lambda c: c.pop("categories"), "no list 'categories'"),
]


@pytest.mark.parametrize(("edit", "message"), BAD)
def test_unusable_records_are_named(broken, edit, message):
    root = broken(edit)
    with pytest.raises(AnnotationError, match=message) as caught:
        COCODetection(root, "train")
    assert str(caught.value).startswith(str(root / annotation_path("train", "coco")))


def test_missing_crowd_flags_and_areas_have_their_usual_meaning(broken):
    def edit(content):
        for record in content["annotations"]:
            del record["iscrowd"], record["area"]

    records = read_instances(broken(edit) / annotation_path("train", "coco"), load("coco"))
    assert not records.crowd.any()
    np.testing.assert_allclose(records.areas, records.boxes[:, 2:].prod(1))


def test_any_file_can_be_read_with_its_own_classes(coco, broken):
    records, vocabulary = read_any_instances(coco / annotation_path("val", "coco"))
    assert vocabulary.names == ("tv", "dog", "person")
    assert vocabulary.category_ids[records.labels].max() == 72
    root = broken(lambda content: content["categories"].append(content["categories"][0]))
    with pytest.raises(AnnotationError, match="an id is listed twice"):
        read_any_instances(root / annotation_path("train", "coco"))


def test_missing_images_of_training_are_counted_up_to_a_rate(tmp_path):
    root = write_detection(tmp_path)
    (root / stored_path("train", "coco", f"{13:012d}.jpg")).unlink()
    with pytest.raises(DatasetNotFoundError, match=r"1 of 6 images .*max_skip_rate=0.001.*000000000013.jpg"):
        COCODetection(root, "train")
    dataset = COCODetection(root, "train", max_skip_rate=0.2)
    assert dataset.counts["images skipped whose file is missing"] == 1
    assert dataset.records.image_ids.tolist() == [11, 12, 14, 15, 16]
    assert dataset[2].annotation.image_id == 14


def test_evaluation_needs_every_image(tmp_path):
    root = write_detection(tmp_path)
    (root / stored_path("val", "coco", f"{513:012d}.jpg")).unlink()
    with pytest.raises(DatasetNotFoundError, match="1 of 4 images"):
        COCODetection(root, "val", max_skip_rate=1)


def test_the_absent_images_of_objects365_do_not_count(tmp_path):
    root = write_detection(tmp_path, "objects365")
    path = root / annotation_path("train", "objects365")
    content = json.loads(path.read_text())
    content["images"].append(content["images"][0] | {"id": 908726, "file_name": "images/v1/patch9/gone.jpg"})
    path.write_text(json.dumps(content))
    dataset = COCODetection(root, "train", layout="objects365")
    assert dataset.counts["images skipped that no copy of the dataset has"] == 1
    assert len(dataset) == 6
    assert not check_detection(root, "objects365").of_level("error")


def test_missing_dataset_shows_the_layout(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"zhiyuan_objv2_val.json\nand the images, such as\n.*val/patch0"):
        COCODetection(tmp_path, "val", layout="objects365")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "voc"}, "layout='voc'"),
        ({"split": "test"}, "split='test'"),
        ({"max_skip_rate": 2}, "max_skip_rate=2"),
    ],
)
def test_unknown_options_are_refused(coco, options, message):
    with pytest.raises(ValueError, match=message):
        COCODetection(coco, **options)


@pytest.mark.parametrize("layout", ["coco", "objects365"])
def test_check_passes_a_sound_folder_and_counts_what_is_odd(tmp_path, layout, capsys):
    root = write_detection(tmp_path, layout)
    report = check_detection(root, layout, decode="all")
    assert not report.of_level("error")
    found = {(row.part, row.what): row.count for row in report.findings}
    assert found["train", "crowd regions"] == 1
    assert found["train", "boxes have an area"] == 1
    assert found["train", "boxes listed once"] == 1
    assert found["val", "number of images"] == 1
    assert main(["check", layout, str(root)]) == 0
    assert "zhiyuan" in capsys.readouterr().out or layout == "coco"


def test_check_finds_missing_files_other_sizes_and_shared_images(broken, capsys):
    def edit(content):
        content["images"][3].update(height=640, width=480)
        content["images"][0].update(id=512)
        content["annotations"] = [record for record in content["annotations"] if record["image_id"] != 11]

    root = broken(edit)
    (root / stored_path("val", "coco", f"{514:012d}.jpg")).unlink()
    report = check_detection(root)
    errors = {(row.part, row.what) for row in report.of_level("error")}
    assert errors == {
        ("train", "sizes agree with the annotations"),
        ("val", "images are there"),
        ("both", "no image in train and val"),
    }
    assert main(["check", "coco", str(root)]) == 1
    assert "512" in capsys.readouterr().out


def test_check_names_annotations_that_cannot_be_read(broken, tmp_path):
    root = broken(lambda content: content["annotations"][0].update(bbox=None))
    errors = check_detection(root).of_level("error")
    assert len(errors) == 1
    assert "annotations.bbox=None" in errors[0].offenders[0]
    assert len(check_detection(tmp_path / "nowhere").of_level("error")) == 2


def test_records_are_small_in_training(coco):
    records = COCODetection(coco, "train").records
    assert records.boxes.dtype == np.float32
    assert records.labels.dtype == np.int16
    assert records.annotation(0).labels.dtype == torch.int64
