import pytest
import pytorch_lightning as pl
import torch

from rlipv2.datamodules import SceneGraphDataModule
from rlipv2.losses import TaggerCriterion
from rlipv2.metrics import TaggingAccuracy
from rlipv2.models.postprocess import postprocess, tagged_pairs
from rlipv2.tasks import RelationTaggingTask
from rlipv2.transforms import eval_transform, train_transform
from tests.fakes_vg import write_vg
from tests.models import tiny


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_vg(tmp_path_factory.mktemp("vg"))


def build(root, *, held_out=3, **options):
    pl.seed_everything(0)
    data = SceneGraphDataModule(
        root,
        pairs="tagger",
        num_pairs=5,
        held_out=held_out,
        texts=9,
        num_workers=0,
        batch_size=2,
        train_transform=train_transform(short_sides=[64], crop_short_sides=None),
        eval_transform=eval_transform(short_side=96),
    )
    task = RelationTaggingTask(tiny.tagger(), TaggerCriterion(), metrics={"tagging": TaggingAccuracy}, **options)
    return task, data


def trainer(**options):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(accelerator="cpu", enable_model_summary=False, **(quiet | {"max_steps": 2} | options))


def test_training_changes_what_the_tagger_uses(root):
    task, data = build(root)
    before = {name: value.clone() for name, value in task.detector.named_parameters()}
    it = trainer(limit_val_batches=0, max_steps=3)
    it.fit(task, datamodule=data)
    changed = {
        name.split(".")[0] for name, value in task.detector.named_parameters() if not torch.equal(value, before[name])
    }
    assert {"backbone", "encoder", "queries", "entity_decoder", "relation_decoder", "head"} <= changed
    assert it.callback_metrics["train/loss"].isfinite()


def test_without_held_out_images_training_runs_without_validation(root):
    task, data = build(root, held_out=0)
    it = trainer(max_steps=-1, max_epochs=1)
    it.fit(task, datamodule=data)
    assert it.global_step == 4
    assert not any(name.startswith("val/") for name in it.callback_metrics)


def test_evaluation_logs_losses_and_figures(root):
    task, data = build(root)
    (values,) = trainer().validate(task, datamodule=data, verbose=False)
    assert {
        "val/loss",
        "val/loss_relation",
        "val/object_class_error",
        "val/tagging_accuracy",
        "val/tagging_auc",
    } <= set(values)
    assert not any("_layer" in name for name in values)
    assert values["val/tagging_related_pairs"] + values["val/tagging_unrelated_pairs"] == 15


def test_predictions_are_the_given_pairs_in_original_pixels(root):
    task, data = build(root)
    predictions = [image for batch in trainer().predict(task, datamodule=data) for image in batch]
    assert [len(image) for image in predictions] == [5, 5, 5]
    records = data.datasets["test"].records
    for image, annotation in zip(predictions, records, strict=True):
        clamped = annotation.boxes_xyxy.clamp(max=64)
        distance = torch.cdist(image.subject_boxes, clamped).min(1).values
        assert (distance < 1e-3).all()
        assert ((image.relation_scores > 0) & (image.relation_scores < 1)).all()


def test_scores_are_those_of_the_last_layer_and_of_the_rows_asked_for():
    model = tiny.tagger().eval()
    targets = [tiny.target(2), tiny.target(4)]
    with torch.no_grad():
        output = model(*tiny.images(), tiny.LABELS, targets)
    predictions = tagged_pairs(output, targets, torch.tensor([[50, 100], [48, 64]]))
    torch.testing.assert_close(predictions[0].relation_scores, output.relation_logits[-1, 0, :2].sigmoid())
    x, y, w, h = targets[0].object_boxes[1].tolist()
    expected = torch.tensor([(x - w / 2) * 100, (y - h / 2) * 50, (x + w / 2) * 100, (y + h / 2) * 50])
    torch.testing.assert_close(predictions[0].object_boxes[1], expected)
    assert torch.equal(predictions[1].object_labels, targets[1].object_labels)


def test_a_postprocessing_is_refused():
    with pytest.raises(TypeError, match="no postprocess"):
        RelationTaggingTask(tiny.tagger(), TaggerCriterion(), postprocess=postprocess)
