import numpy as np
import pytest
import torch

from rlipv2.datamodules import VCOCODataModule
from rlipv2.datasets.errors import DatasetNotFoundError
from rlipv2.metrics import VCOCORoleAP
from rlipv2.ops.boxes import cxcywh_to_xyxy
from rlipv2.structures import PairPredictions
from rlipv2.transforms import eval_transform, train_transform
from rlipv2.vocabularies import load
from tests.fakes_vcoco import write_vcoco

NAMES = load("vcoco")
SMALL = {
    "train_transform": train_transform(short_sides=[48], crop_short_sides=None),
    "eval_transform": eval_transform(short_side=48),
    "num_workers": 0,
    "batch_size": 1,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_vcoco(tmp_path_factory.mktemp("vcoco"))


def module(root, stage="fit", **options):
    data = VCOCODataModule(root, **(SMALL | options))
    data.setup(stage)
    return data


def test_trains_on_trainval_and_evaluates_on_test(root):
    data = module(root)
    assert sorted(data.datasets["train"].records.image_ids.tolist()) == [9, 36, 49, 61, 64]
    assert [b.annotations[0].image_id for b in data.test_dataloader()] == [42, 73, 74]
    assert data.val_dataloader().dataset.dataset is data.datasets["test"]


def test_images_without_relations_are_trained_on(root):
    data = module(root)
    targets = {int(b.indices[0]): b.targets[0] for b in data.train_dataloader()}
    empty = data.datasets["train"].records.image_ids.tolist().index(49)
    assert len(targets) == 5
    assert len(targets[empty]) == 0


def test_targets_have_81_objects_29_relations_and_the_official_subject_label(root):
    for batch in module(root, subject_label=1).train_dataloader():
        assert batch.label_space == NAMES.label_space
        for target in batch.targets:
            assert target.relations.shape[1] == 29
            assert set(target.subject_labels.tolist()) <= {1}
            missing = target.object_labels == 80
            assert torch.equal(missing, (target.object_boxes == 0).all(dim=1))


def test_only_as_many_boxes_as_queries_count_in_training(root):
    data = module(root, num_pairs=1)
    assert max(np.diff(data.datasets["train"].records.box_ptr)) == 2
    assert max(np.diff(data.datasets["test"].records.box_ptr)) == 4


def test_the_metric_is_told_the_whole_test_split(root):
    arguments = module(root, "test").metric_arguments()
    assert arguments.keys() == {"ground_truth", "actions", "verbs", "category_ids", "validity"}
    truth = arguments["ground_truth"]
    assert truth["id"].tolist() == [42, 73, 74]
    assert truth["actions"].shape == (4, 26)
    assert arguments["validity"].shape == (29, 80)
    assert arguments["verbs"] == NAMES.verbs


def test_occurring_label_space_keeps_missing_objects_and_whole_actions(root):
    full, data = module(root), module(root, label_space="occurring")
    space = data.label_space
    assert space.objects == (
        "person",
        "dog",
        "horse",
        "tennis racket",
        "cup",
        "knife",
        "cake",
        "chair",
        "book",
        "missing objects",
    )
    verbs = [NAMES.verbs[NAMES.label_space.relations.index(name)] for name in space.relations]
    assert {"hit_instr", "hit_obj", "eat_obj", "eat_instr", "cut_instr", "cut_obj"} <= set(verbs)
    assert "ski_instr" not in verbs
    for whole, reduced in zip(full.test_dataloader(), data.test_dataloader(), strict=True):
        assert reduced.label_space == space
        for one, other in zip(whole.annotations, reduced.annotations, strict=True):
            assert [space.objects[row] for row in other.labels] == [NAMES.objects[row] for row in one.labels]
            assert [space.relations[row] for row in other.relations[:, 2]] == [
                NAMES.label_space.relations[row] for row in one.relations[:, 2]
            ]
            assert torch.equal(one.relations[:, :2], other.relations[:, :2])
    arguments, whole = data.metric_arguments(), full.metric_arguments()
    assert arguments["verbs"] == tuple(verbs)
    assert arguments["category_ids"] == (1, 18, 19, 43, 47, 49, 61, 62, 84)
    assert arguments["validity"].shape == (len(verbs), 9)
    columns = [row for row, action in enumerate(NAMES.actions) if action in arguments["actions"]]
    np.testing.assert_array_equal(arguments["ground_truth"]["roles"], whole["ground_truth"]["roles"][:, columns])
    targets = [target for batch in data.train_dataloader() for target in batch.targets]
    assert any((target.object_labels == 9).any() for target in targets)


def test_bad_options_and_missing_data_are_refused(tmp_path):
    with pytest.raises(ValueError, match="label_space='all'"):
        VCOCODataModule(tmp_path, label_space="all")
    with pytest.raises(DatasetNotFoundError, match="V-COCO not found"):
        VCOCODataModule(tmp_path).require_data()
    VCOCODataModule(tmp_path, prepare=lambda: None).require_data()


@pytest.mark.parametrize("label_space", ["vocabulary", "occurring"])
def test_predicting_the_labels_gives_a_role_ap_of_one(root, label_space):
    data = module(root, "test", label_space=label_space)
    metric = VCOCORoleAP(**data.metric_arguments())
    for batch in data.test_dataloader():
        predictions = []
        for target, size in zip(batch.targets, batch.original_sizes, strict=True):
            scale = size.flip(0).repeat(2)
            predictions.append(
                PairPredictions(
                    subject_boxes=cxcywh_to_xyxy(target.subject_boxes) * scale,
                    object_boxes=cxcywh_to_xyxy(target.object_boxes) * scale,
                    subject_labels=target.subject_labels,
                    object_labels=target.object_labels,
                    relation_scores=target.relations * 0.9,
                )
            )
        metric.update(predictions, batch.annotations, batch.indices)
    figures = metric.compute()
    assert [float(figures[key]) for key in ("role_ap_1", "role_ap_2", "agent_ap")] == [1, 1, 1]
