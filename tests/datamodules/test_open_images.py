import functools

import pytest
import torch

from rlipv2.datamodules import OpenImagesDataModule
from rlipv2.datasets import DatasetNotFoundError
from rlipv2.transforms import eval_transform, train_transform
from tests.fakes import OPEN_IMAGES_OBJECTS, write_open_images

SMALL = {
    "train_transform": train_transform(short_sides=[48], crop_short_sides=None),
    "eval_transform": eval_transform(short_side=48),
    "num_workers": 0,
    "batch_size": 2,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_open_images(tmp_path_factory.mktemp("open_images"), num_train=5, num_test=4)


def module(root, stage="fit", **options):
    data = OpenImagesDataModule(root, **(SMALL | options))
    data.setup(stage)
    return data


def test_trains_on_train_only_and_evaluates_on_test(root):
    data = module(root)
    assert {name: dataset.split for name, dataset in data.datasets.items()} == {
        "train": "train",
        "val": "test",
        "test": "test",
    }
    assert data.datasets["val"] is data.datasets["test"]
    assert [len(batch) for batch in data.train_dataloader()] == [2, 2]


def test_targets_have_their_own_subject_labels_and_multi_hot_relations(root):
    batch = next(iter(module(root, "test").test_dataloader()))
    target = batch.targets[0]
    assert batch.label_space.objects == ("Man", "Beer", "Chair", "Woman")
    assert (target.subject_labels.tolist(), target.object_labels.tolist()) == ([0, 2], [2, 0])
    assert target.relations.tolist() == [[0, 1, 1], [1, 0, 0]]


def test_metric_is_told_the_triplets_of_the_test_split(root):
    arguments = module(root).metric_arguments()
    assert (arguments["num_objects"], arguments["num_relations"]) == (4, 3)
    assert arguments["triplets"].tolist() == [[0, 1, 2], [0, 2, 2], [2, 0, 0], [2, 1, 0]]


def test_all_classes_and_other_texts_can_be_asked_for(root):
    assert module(root, "test", label_space="all").label_space.objects == OPEN_IMAGES_OBJECTS
    words = module(root, "test", spelling="words")
    assert words.label_space.objects == ("man", "beer", "chair", "woman")
    annotations = [batch.annotations[0] for batch in words.test_dataloader()]
    assert torch.equal(annotations[0].labels, torch.tensor([0, 2, 2]))


def test_number_of_pairs_limits_the_boxes_of_training_images(root):
    data = module(root, num_pairs=1)
    assert len(data.datasets["train"].records.boxes) == 8
    assert len(data.datasets["test"].records.boxes) == 9


def test_missing_data_is_told_before_anything_is_built(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"categories_dict\.json"):
        OpenImagesDataModule(tmp_path).require_data()
    data = OpenImagesDataModule(tmp_path, prepare=functools.partial(write_open_images, tmp_path), **SMALL)
    data.require_data()
    data.prepare_data()
    data.setup("test")
    assert len(data.datasets["test"]) == 4


@pytest.mark.parametrize("options", [{"label_space": "some"}, {"spelling": "long"}])
def test_unknown_choices_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        OpenImagesDataModule("somewhere", **options)
