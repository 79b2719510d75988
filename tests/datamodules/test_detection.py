import pytest
import torch

from rlipv2.datamodules import DetectionDataModule
from rlipv2.datasets.errors import DatasetNotFoundError
from rlipv2.transforms import eval_transform, train_transform
from rlipv2.vocabularies import load
from tests.fakes_detection import write_detection

SMALL = {
    "train_transform": train_transform(short_sides=[48], crop_short_sides=None, color_jitter=0.0),
    "eval_transform": eval_transform(short_side=32),
    "num_workers": 0,
    "batch_size": 3,
}


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    return write_detection(tmp_path_factory.mktemp("coco"))


@pytest.fixture(scope="module")
def objects365(tmp_path_factory):
    return write_detection(tmp_path_factory.mktemp("objects365"), "objects365")


def module(stage="fit", **options):
    data = DetectionDataModule(**(SMALL | options))
    data.setup(stage)
    return data


def test_training_batches_hold_normalised_boxes(coco):
    batches = list(module(coco=coco).train_dataloader())
    assert [len(batch) for batch in batches] == [3, 3]
    for target in [target for batch in batches for target in batch.targets]:
        assert target.boxes.shape == (len(target.labels), 4)
        assert (target.boxes >= 0).all()
        assert (target.boxes <= 1).all()
        assert target.annotated.all()
    assert batches[0].annotations == []


def test_evaluation_runs_in_file_order_with_boxes_in_original_pixels(coco):
    batches = list(module("test", coco=coco).test_dataloader())
    assert [row.image_id for batch in batches for row in batch.annotations] == [511, 512, 513, 514]
    batch = batches[0]
    assert batch.images.shape[-2:] != tuple(batch.original_sizes[0].tolist())
    scale = batch.original_sizes[0].flip(0).repeat(2)
    corners = batch.annotations[0].boxes_xyxy
    centers = (corners[:, :2] + corners[:, 2:]) / 2 / scale[:2]
    torch.testing.assert_close(batch.targets[0].boxes[:, :2], centers)


def test_joined_classes_count_by_name_and_tell_what_is_labelled(coco, objects365):
    data = module(coco=coco, objects365=objects365)
    names = data.label_space.objects
    assert len(names) == 376
    assert names[:80] == load("coco").names
    assert len(data.datasets["train"]) == 12
    seen = set()
    for batch in data.train_dataloader():
        assert batch.label_space == data.label_space
        for index, target in zip(batch.indices.tolist(), batch.targets, strict=True):
            dataset = "coco" if index < 6 else "objects365"
            assert {names[row] for row in target.annotated.nonzero().flatten()} == set(load(dataset).names)
            assert target.annotated[target.labels].all()
            seen |= {(dataset, names[row]) for row in target.labels.tolist()}
    assert {("coco", "tv"), ("objects365", "sneakers"), ("objects365", "dog"), ("coco", "dog")} <= seen


def test_evaluation_asks_for_the_classes_of_the_evaluated_dataset(coco, objects365):
    for evaluate, count in (("coco", 80), ("objects365", 365)):
        data = module("validate", coco=coco, objects365=objects365, evaluate=evaluate)
        assert len(next(iter(data.val_dataloader())).label_space.objects) == count
        assert len(data.metric_arguments()["category_ids"]) == count


def test_metric_is_told_all_boxes_with_crowds_as_in_the_file(coco):
    truth = module("test", coco=coco).metric_arguments()["ground_truth"]
    assert truth["id"].tolist() == [511, 512, 513, 514]
    assert truth["iscrowd"].sum() == 1
    assert len(truth["bbox"]) == truth["box_ptr"][-1] == len(truth["area"])
    assert set(truth["category_id"].tolist()) <= {1, 18, 72}


def test_what_is_missing_is_told_before_anything_is_built(tmp_path, coco):
    with pytest.raises(DatasetNotFoundError, match=r"zhiyuan_objv2_train\.json"):
        DetectionDataModule(coco=coco, objects365=tmp_path, **SMALL).require_data()
    DetectionDataModule(coco=coco, **SMALL).require_data()


def test_impossible_choices_are_refused(coco):
    with pytest.raises(ValueError, match="neither coco nor objects365"):
        DetectionDataModule(**SMALL)
    with pytest.raises(ValueError, match="evaluate='objects365'"):
        DetectionDataModule(coco=coco, evaluate="objects365", **SMALL)
