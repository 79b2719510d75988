import dataclasses

import numpy as np
import pytest
import torch

from rlipv2.datamodules.collate import collate
from rlipv2.datasets import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.vcoco import VCOCO
from rlipv2.datasets.vcoco.dataset import read_validity
from rlipv2.transforms import train_transform
from tests.fakes_vcoco import VCOCO as NAMES
from tests.fakes_vcoco import write_vcoco

MISSING = 80


@pytest.fixture(scope="module", params=["release", "hoia"])
def root(request, tmp_path_factory):
    return write_vcoco(tmp_path_factory.mktemp("vcoco"), kind=request.param)


def image(dataset, number):
    return next(row for row, i in enumerate(dataset.records.image_ids) if i == number)


def target_of(dataset, number, **options):
    return collate([(0, dataset[image(dataset, number)])], **options).targets[0]


def test_images_lie_in_the_halves_of_coco_2014(root):
    assert VCOCO(root, "trainval").image_folder.name == "train2014"
    assert VCOCO(root, "test").image_folder.name == "val2014"
    assert VCOCO(root.parent, "test").root == root
    assert VCOCO(root, "test")[0].image.shape == (3, 48, 64)


def test_relations_without_object_share_a_row_with_a_zero_box(root):
    target = target_of(VCOCO(root), 9, subject_label=1)
    verbs = [{NAMES.verbs[v] for v in row.nonzero().flatten()} for row in target.relations]
    assert verbs == [{"sit_instr", "ride_instr"}, {"walk", "smile", "point_instr"}]
    assert target.object_labels.tolist() == [NAMES.objects.index("horse"), MISSING]
    assert target.object_boxes[1].tolist() == [0, 0, 0, 0]
    assert target.subject_labels.tolist() == [1, 1]
    torch.testing.assert_close(target.subject_boxes[0], target.subject_boxes[1])
    torch.testing.assert_close(
        target.subject_boxes[0] * torch.tensor([64, 48, 64, 48]), torch.tensor([11.5, 22.5, 20, 40.5])
    )


def test_real_subject_labels_are_people(root):
    assert target_of(VCOCO(root), 9).subject_labels.tolist() == [0, 0]


def test_an_image_without_relations_gives_an_empty_target(root):
    target = target_of(VCOCO(root), 49)
    assert len(target) == 0
    assert target.relations.shape == (0, 29)


def test_training_drops_boxes_without_area_and_clamps_the_others(root):
    dataset = VCOCO(root)
    annotation = dataset[image(dataset, 61)].annotation
    assert annotation.boxes_xyxy.tolist() == [[40, 10, 64, 48], [10, 10, 15, 15]]
    assert [(s, o, NAMES.verbs[v]) for s, o, v in annotation.relations.tolist()] == [
        (0, 1, "look_obj"),
        (0, 1, "drink_instr"),
    ]


def test_evaluation_leaves_records_as_they_are(root):
    dataset = VCOCO(root, "trainval", training=False)
    annotation = dataset[image(dataset, 61)].annotation
    assert annotation.boxes_xyxy[0].tolist() == [40, 10, 64.5, 48.5]
    assert len(annotation.relations) == 3
    assert VCOCO(root, "test")[0].annotation.image_id == 42


def test_a_crop_keeps_relations_without_object_as_long_as_their_person(root):
    dataset = VCOCO(root)
    sample = dataset[image(dataset, 9)]
    transform = train_transform(short_sides=[48], crop_short_sides=[48], crop_sides=(16, 20), flip=0.5)
    seen = set()
    for seed in range(40):
        annotation = transform(sample, torch.Generator().manual_seed(seed)).annotation
        people = (annotation.labels == 0).sum().item()
        without = (annotation.relations[:, 1] == -1).sum().item()
        assert without == 3 * people
        assert (annotation.relations[:, 1] < len(annotation.labels)).all()
        seen.add((people, len(annotation.labels)))
    assert {0, 1} <= {people for people, _ in seen}


def test_max_boxes_counts_in_file_order_and_spares_relations_without_object(root):
    cut = VCOCO(root, "trainval", max_boxes=1)
    assert np.diff(cut.records.box_ptr).tolist() == [1, 1, 1, 1, 1]
    relations = cut.records[image(cut, 9)].relations.tolist()
    assert [(s, o) for s, o, _ in relations] == [(0, -1)] * 3
    assert cut.counts["relations beyond max_boxes dropped"] == 11
    assert len(VCOCO(root, "trainval", max_boxes=None).records.boxes) == 14
    assert len(VCOCO(root, "test", max_boxes=1).records.boxes) == 8  # training only


def test_flips_leave_minus_one_alone(root):
    dataset = VCOCO(root)
    flip = train_transform(short_sides=[48], crop_short_sides=None, flip=1.0, color_jitter=0.0)
    sample = dataset[image(dataset, 9)]
    assert torch.equal(flip(sample, None).annotation.relations, sample.annotation.relations)


def test_selecting_images_keeps_relations_without_object(root):
    records = VCOCO(root).records
    chosen = records.select([4, 3, 3])
    assert chosen.image_ids.tolist() == [61, 9, 9]
    assert torch.equal(chosen[2].relations, records[3].relations)
    assert (chosen.keep_relations(chosen.relations[:, 1] < 0).relations[:, 1] == -1).all()


def test_the_same_image_without_the_missing_class_is_refused(root):
    dataset = VCOCO(root)
    sample = dataset[image(dataset, 9)]
    space = dataclasses.replace(sample.label_space, objects=sample.label_space.objects[:-1])
    with pytest.raises(ValueError, match=r"image 9 .*: a relation without object, but the label space"):
        collate([(0, dataclasses.replace(sample, label_space=space))])


def test_missing_parts_are_told_at_construction(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="V-COCO not found"):
        VCOCO(tmp_path)
    folder = write_vcoco(tmp_path)
    with pytest.raises(ValueError, match="split='valid'"):
        VCOCO(folder, "valid")
    (folder / "images/val2014/COCO_val2014_000000000042.jpg").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"1 of 3 images are missing \(COCO_val2014_000000000042.jpg\)"):
        VCOCO(folder, "test")


def test_validity_is_what_training_shows_unless_the_official_file_is_there(tmp_path):
    np.testing.assert_array_equal(read_validity(tmp_path, NAMES), NAMES.valid_pairs)
    path = tmp_path / "annotations/corre_vcoco.npy"
    path.parent.mkdir()
    table = np.random.default_rng(0).integers(0, 2, (29, 80)).astype(np.float64)
    np.save(path, table)
    np.testing.assert_array_equal(read_validity(tmp_path, NAMES), table)
    np.save(path, table.T)
    with pytest.raises(AnnotationError, match=r"corre_vcoco.npy: shape \(80, 29\)"):
        read_validity(tmp_path, NAMES)
    path.write_bytes(b"<html>")
    with pytest.raises(AnnotationError, match="not a NumPy array"):
        read_validity(tmp_path, NAMES)
