import pytest

from rlipv2.datamodules import CustomDataModule
from rlipv2.datasets import AnnotationError, DatasetNotFoundError
from rlipv2.structures import LabelSpace
from rlipv2.transforms import eval_transform, train_transform
from tests.fakes import custom_images, write_custom_data

SMALL = {
    "train_transform": train_transform(short_sides=[48], crop_short_sides=None),
    "eval_transform": eval_transform(short_side=48),
    "num_workers": 0,
    "batch_size": 2,
}


@pytest.fixture
def root(tmp_path):
    return write_custom_data(tmp_path)


def module(root, stage="fit", **options):
    data = CustomDataModule(root, **(SMALL | options))
    data.setup(stage)
    return data


def test_every_stage_has_its_split(root):
    data = module(root)
    data.setup("test")
    assert {name: len(dataset) for name, dataset in data.datasets.items()} == {"train": 5, "val": 2, "test": 3}
    assert data.datasets["train"].training
    assert not data.datasets["val"].training
    batch = next(iter(data.train_dataloader()))
    assert batch.label_space == data.label_space == LabelSpace(("bicycle", "person"), ("next to", "riding"))
    assert set(batch.targets[0].subject_labels.tolist()) == {1}


def test_metric_is_told_the_numbers_of_names(root):
    assert module(root).metric_arguments() == {"num_objects": 2, "num_relations": 2}


def test_one_split_can_stand_in_for_another(root):
    (root / "annotations/val.json").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"data\.val=test"):
        module(root)
    data = module(root, val="test")
    data.setup("test")
    assert data.datasets["val"] is data.datasets["test"]


def test_evaluation_alone_needs_the_names_of_training_or_all(root):
    (root / "annotations/val.json").unlink()
    assert len(module(root, "test").datasets["test"]) == 3
    (root / "annotations/train.json").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"data\.label_space=all"):
        module(root, "test")
    assert len(module(root, "test", label_space="all").datasets["test"]) == 3


def test_words_that_training_lacks_are_refused_or_added(tmp_path):
    test = custom_images("test", 2)
    test[1]["relations"][0]["name"] = "towing"
    root = write_custom_data(tmp_path, splits={"train": custom_images("train", 2), "test": test})
    with pytest.raises(AnnotationError, match="name='towing': not among the 2 relations that training knows"):
        module(root, "test")
    data = module(root, val="test", label_space="all")
    assert data.metric_arguments()["num_relations"] == 3
    assert next(iter(data.train_dataloader())).targets[0].relations.shape[1] == 3


def test_images_must_not_be_trained_on_and_evaluated(tmp_path):
    images = custom_images("train", 2)
    root = write_custom_data(tmp_path, splits={"train": images, "val": images[:1]})
    with pytest.raises(AnnotationError, match=r"1 images are in train.json too \(train/0.png\)"):
        module(root)
    assert len(module(root, val="train").datasets["val"]) == 2


def test_test_images_must_not_be_trained_on_either(tmp_path):
    images = custom_images("train", 2)
    splits = {"train": images, "val": custom_images("val", 1), "test": [images[0] | {"file_name": "./train/0.png"}]}
    root = write_custom_data(tmp_path, splits=splits)
    for stage in ("fit", "test"):
        with pytest.raises(AnnotationError, match=r"test.json: 1 images are in train.json too \(train/0.png\)"):
            module(root, stage)
    assert len(module(root, "validate").datasets["val"]) == 1
    assert len(module(root, "predict").datasets["test"]) == 1
    (root / "annotations/test.json").unlink()
    assert len(module(root).datasets["train"]) == 2


def test_boxes_that_count_can_be_limited(root):
    assert len(module(root, max_boxes=2).datasets["train"].records.boxes) == 10


def test_missing_data_is_told_before_anything_is_built(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"docs/custom_data.md"):
        CustomDataModule(tmp_path).require_data()


def test_unknown_choices_are_refused():
    with pytest.raises(ValueError, match="label_space='some'"):
        CustomDataModule("somewhere", label_space="some")
