import functools
import json

import numpy as np
import pytest
import torch

from rlipv2.datamodules import HICODetDataModule
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.hico.subsets import relation_hois
from rlipv2.transforms import Resize, eval_transform, train_transform
from rlipv2.vocabularies import load
from tests.fakes import Pair, hico_scenes, write_hico

SMALL = {
    "train_transform": train_transform(short_sides=[48], crop_short_sides=None),
    "eval_transform": eval_transform(short_side=48),
    "num_workers": 0,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_hico(tmp_path_factory.mktemp("hico"), num_train=8, num_test=5)


def module(root, stage="fit", **options):
    data = HICODetDataModule(root, **({"batch_size": 2} | SMALL | options))
    data.setup(stage)
    return data


def test_training_batches_shuffle_and_drop_the_last_incomplete_one(root):
    batches = list(module(root, batch_size=3).train_dataloader())
    assert [len(batch) for batch in batches] == [3, 3]
    assert len({int(index) for batch in batches for index in batch.indices}) == 6


def test_evaluation_runs_in_file_order_over_all_images(root):
    data = module(root, "test")
    batches = list(data.test_dataloader())
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(5))
    records = data.datasets["test"].records
    annotation = batches[1].annotations[0]
    torch.testing.assert_close(annotation.boxes_xyxy, records[2].boxes_xyxy)


def test_full_label_space_and_official_rare_set(root):
    data = module(root, "test")
    arguments = data.metric_arguments()
    assert data.label_space == load("hico").label_space
    assert arguments["hois"].shape == (600, 2)
    assert arguments["rare"].sum() == 138
    assert arguments["unseen"] is None


@pytest.mark.parametrize(("setting", "count"), [("uc_rf", 120), ("uc_nf", 120), ("uo", 100), ("uv", 84)])
def test_zero_shot_settings_name_their_unseen_interactions(root, setting, count):
    assert module(root, "test", zero_shot=setting).metric_arguments()["unseen"].sum() == count


def test_occurring_label_space_names_the_same_interactions(root):
    full, small = module(root), module(root, label_space="occurring")
    space, vocabulary = small.label_space, load("hico")
    assert len(space.objects) < 80
    for whole, reduced in zip(full.test_dataloader(), small.test_dataloader(), strict=True):
        assert reduced.label_space == space
        for one, other in zip(whole.annotations, reduced.annotations, strict=True):
            names = [vocabulary.label_space.objects[row] for row in one.labels]
            assert [space.objects[row] for row in other.labels] == names
    hois = small.metric_arguments()["hois"]
    named = {(space.relations[r], space.objects[o]) for r, o in hois}
    every = {(vocabulary.label_space.relations[r], vocabulary.label_space.objects[o]) for r, o in vocabulary.hois}
    assert named == {(r, o) for r, o in every if r in space.relations and o in space.objects}


def test_rare_can_be_counted_in_the_training_images(root):
    arguments = module(root, rare="training").metric_arguments()
    assert arguments["rare"].all()  # eight images hold fewer than ten of everything


def test_subject_label_reaches_training_targets(root):
    for batch in module(root, subject_label=1).train_dataloader():
        for target in batch.targets:
            assert target.subject_labels.tolist() == [1] * len(target)


def test_cache_gives_the_same_batches(root):
    flip = train_transform(short_sides=[48], crop_short_sides=None, flip=1.0, color_jitter=0.0)
    plain = module(root, train_transform=flip).train_dataloader()
    cached = module(root, train_transform=flip, cache=True, cache_transform=Resize([48])).train_dataloader()
    for one, other in zip(plain, cached, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets[0].subject_boxes, other.targets[0].subject_boxes)


def test_cached_evaluation_reads_validation_and_test_images_once(root):
    data = module(root, cache=True)
    list(data.val_dataloader())
    first = data.test_dataloader().dataset
    assert first is data.val_dataloader().dataset
    assert len(first.samples) == 5


def test_cache_with_workers_is_refused(root):
    with pytest.raises(ValueError, match="cache=True with num_workers=2"):
        HICODetDataModule(root, cache=True, num_workers=2)


def test_few_shot_and_zero_shot_reach_the_training_split(root, tmp_path):
    whole = module(root).datasets["train"].records
    chosen = tmp_path / "chosen.json"
    chosen.write_text(json.dumps([whole.file_names[0], whole.file_names[2]]))
    data = module(root, few_shot_percent=1, few_shot_file=chosen, zero_shot="uc_nf")
    records = data.datasets["train"].records
    vocabulary = load("hico")
    shown = relation_hois(whole.select([0, 2]), vocabulary)
    assert records.file_names == (whole.file_names[0], whole.file_names[2])
    assert len(records.relations) == (~vocabulary.unseen["uc_nf"][shown]).sum()


def test_number_of_pairs_limits_the_boxes_of_training_images(root):
    records = module(root, num_pairs=1).datasets["train"].records
    assert np.diff(records.box_ptr).max() == 2


def test_reading_options_reach_both_splits(tmp_path):
    scenes = {split: hico_scenes(split, 2) for split in ("train", "test")}
    for members in scenes.values():  # the same person once more, a little to the right
        pair = members[0].pairs[0]
        members[0].pairs.append(Pair(pair.hoi, tuple(np.add(pair.subject, (1, 0, 1, 0)).tolist()), pair.object))
    folder = write_hico(tmp_path, kind="mat", scenes=scenes)
    plain, shifted = module(folder, shift="none"), module(folder, shift="all")
    for split in ("train", "test"):
        boxes = [data.datasets[split].records.boxes for data in (plain, shifted)]
        np.testing.assert_array_equal(boxes[0], boxes[1] + 1)
    apart, merged = module(folder, merge_iou=None), module(folder, merge_iou=0.5)
    for split in ("train", "test"):
        assert len(merged.datasets[split].records.boxes) == len(apart.datasets[split].records.boxes) - 1


def test_share_of_skipped_images_can_be_raised(tmp_path):
    folder = write_hico(tmp_path)
    path = folder / "annotations/trainval_hico.json"
    records = json.loads(path.read_text())
    records[2]["hoi_annotation"][0]["object_id"] = 50
    path.write_text(json.dumps(records))
    with pytest.raises(AnnotationError, match="1 of 6 images"):
        module(folder)
    data = module(folder, max_skip_rate=0.2, rare="training")
    assert len(data.datasets["train"]) == 5
    assert data.metric_arguments()["rare"].all()


def test_prepare_makes_the_data_before_setup(tmp_path):
    data = HICODetDataModule(
        tmp_path / "hico_20160224_det", prepare=functools.partial(write_hico, tmp_path), batch_size=2, **SMALL
    )
    data.prepare_data()
    data.setup("fit")
    assert len(data.datasets["train"]) > 0


def test_missing_folder_tells_what_to_put_where(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="images/train2015"):
        HICODetDataModule(tmp_path / "nowhere").setup("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_space": "all"}, "label_space='all'"),
        ({"rare": "few"}, "rare='few'"),
        ({"zero_shot": "uc"}, "zero_shot='uc': expected one of"),
    ],
)
def test_unknown_choices_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        HICODetDataModule("somewhere", **options)
