from pathlib import Path

import hydra
import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir

import rlipv2.utils  # noqa: F401 - registers what configurations compute with
from rlipv2.checkpoints import load_network, load_weights, read_state
from rlipv2.checkpoints.object_detection import to_relation_detector
from rlipv2.losses import DETECTION_WEIGHTS, DetectionCriterion, weighted_sum
from rlipv2.models.object_detector import ObjectDetector, detect
from rlipv2.ops.boxes import xyxy_to_cxcywh
from rlipv2.structures import DetectionTarget
from rlipv2.tasks.initial_weights import initialize
from tests.fakes_detection import write_detection
from tests.models import tiny
from tests.models.tiny_objects import CLASSES, config, object_detector

CONF = Path(__file__).parents[2] / "conf"
SMALL = [
    "backbone=tiny_detection",
    "data.num_workers=0",
    "data.batch_size=2",
    "+data.train_transform.short_sides=[64]",
    "+data.train_transform.crop_short_sides=null",
    "+data.eval_transform.short_side=64",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_detection(tmp_path_factory.mktemp("coco"))


def build(root, *overrides):
    if "regime=micro_od" not in overrides:
        overrides = ("model.schedule.lr_drop=40", *overrides)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("train", overrides=[*SMALL, f"paths.coco={root}", *overrides])
    pl.seed_everything(0)
    return hydra.utils.instantiate(composed.model), hydra.utils.instantiate(composed.data)


def trainer(**options):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(accelerator="cpu", enable_model_summary=False, **(quiet | {"max_steps": 2} | options))


@pytest.mark.parametrize("model", ["object_detector", "object_detector_learned"])
def test_training_changes_every_trainable_parameter(root, model):
    task, data = build(root, f"model={model}", "data=coco_detection")
    before = {name: value.clone() for name, value in task.detector.named_parameters()}
    trainer(limit_val_batches=0).fit(task, datamodule=data)
    unchanged = [
        name
        for name, value in task.detector.named_parameters()
        if value.requires_grad and torch.equal(value, before[name])
    ]
    assert unchanged == []


def test_dense_steps_train_the_backbone_alone_and_their_heads_stay_out_of_relation_detectors(root):
    task, data = build(root, "model=object_detector", "data=coco_detection", "regime=micro_od", "model.dense_steps=1")
    before = {name: value.clone() for name, value in task.detector.named_parameters()}

    class AfterTheDenseStep(pl.Callback):
        changed: set[str]

        def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):
            if batch_idx == 0:
                parts = task.detector.named_parameters()
                self.changed = {name.split(".")[0] for name, value in parts if not torch.equal(value, before[name])}

    after = AfterTheDenseStep()
    trainer(limit_val_batches=0, callbacks=[after]).fit(task, datamodule=data)
    # AdamW's decay moves no parameter without gradient
    assert after.changed == {"backbone", "pyramid", "class_heads", "dense"}
    moved = {
        name.split(".")[0] for name, value in task.detector.named_parameters() if not torch.equal(value, before[name])
    }
    assert moved >= {"encoder", "queries", "decoder"}
    state = {name: value.detach() for name, value in task.detector.state_dict().items()}
    assert not [name for name in to_relation_detector(state, num_decoder_layers=3) if "dense" in name]


def test_testing_gives_the_figures_of_coco(root):
    task, data = build(root, "model=object_detector", "data=coco_detection")
    (values,) = trainer().test(task, datamodule=data, verbose=False)
    assert {f"test/{name}" for name in ("AP", "AP50", "AR100", "loss_class", "loss")} <= values.keys()
    assert 0 <= values["test/AP"] <= 0.2


def test_a_wrong_number_of_classes_is_told_before_training(root):
    task, data = build(root, "model=object_detector", "data=coco_detection", "model.detector.num_classes=376")
    with pytest.raises(ValueError, match="num_classes=376, but its label space names 80"):
        trainer().fit(task, datamodule=data)


@pytest.mark.parametrize(
    ("model", "lr", "groups"),
    [
        ("object_detector", 1e-4, {"base", "backbone"}),
        ("object_detector_learned", 2e-4, {"base", "backbone", "sampling_offsets", "reference"}),
    ],
)
def test_rates_are_those_of_the_published_code(root, model, lr, groups):
    task, data = build(root, f"model={model}", "data=coco_detection", f"model.lr={lr}")
    it = trainer(max_steps=1, limit_val_batches=0)
    it.fit(task, datamodule=data)
    rates = {group["name"]: group["initial_lr"] for group in it.optimizers[0].param_groups}
    assert rates.keys() == groups
    assert rates.pop("base") == lr
    assert all(rate == pytest.approx(lr / 10) for rate in rates.values())


@pytest.mark.parametrize("positions", ["anchor", "learned"])
def test_two_images_are_learned_by_heart(positions):
    detector = object_detector(positions, num_layers=2, num_queries=8).train()
    height, width = 48, 64
    pixels, mask = torch.zeros(2, 3, height, width, dtype=torch.uint8), torch.zeros(2, height, width, dtype=torch.bool)
    corners = [[(6, 6, 30, 30)], [(34, 14, 60, 44), (2, 22, 20, 46)]]
    labels = [[0], [1, 2]]
    targets = []
    for image, boxes in enumerate(corners):
        for colour, (x1, y1, x2, y2) in zip(labels[image], boxes, strict=True):
            pixels[image, colour, y1:y2, x1:x2] = 255
        centered = xyxy_to_cxcywh(torch.tensor(boxes) / torch.tensor([width, height, width, height]))
        targets.append(DetectionTarget(centered, torch.tensor(labels[image]), torch.ones(3, dtype=torch.bool)))
    criterion, optimizer = DetectionCriterion(), torch.optim.AdamW(detector.parameters(), lr=5e-3)
    totals = []
    for _ in range(45):
        total = weighted_sum(criterion(detector(pixels, mask, CLASSES), targets), DETECTION_WEIGHTS)
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 1.0)
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.25 * totals[0]
    with torch.inference_mode():
        found = detect(detector(pixels, mask, CLASSES), torch.tensor([[height, width]] * 2), top_k=2)
    assert found[0].labels[0] == 0
    assert set(found[1].labels.tolist()) == {1, 2}


def test_weight_folder_holds_classes_and_configuration(tmp_path):
    detector = object_detector()
    detector.save_pretrained(tmp_path)
    again = ObjectDetector.from_pretrained(tmp_path)
    assert again.label_space == CLASSES
    assert again.config == config()
    inputs = tiny.images()
    with torch.inference_mode():
        torch.testing.assert_close(again(*inputs).boxes, detector.eval()(*inputs).boxes)
    assert isinstance(load_network(tmp_path), ObjectDetector)
    with pytest.raises(ValueError, match="holds a ObjectDetector, not a RelationDetector"):
        load_weights(tmp_path)


def test_relation_detector_starts_from_detection_weights(tmp_path):
    source = object_detector()
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter)
    source.save_pretrained(tmp_path)
    network = tiny.detector()
    kept = network.head.projection.weight.clone()
    initialize(network, tmp_path, cut_queries="official")
    own, theirs = network.state_dict(), read_state(tmp_path)
    pairs = {
        "queries.content": ("queries.content", 10),
        "queries.relation_content": ("queries.content", 10),
        "queries.anchors": ("queries.anchors", 10),
        "encoder.image_layers.1.attention.value_projection.weight": None,
        "pyramid.level_embedding": None,
        "entity_decoder.layers.1.feedforward.linear1.weight": "decoder.layers.1.feedforward.linear1.weight",
        "relation_decoder.layers.1.feedforward.linear1.weight": "decoder.layers.1.feedforward.linear1.weight",
        "relation_decoder.anchor_projection.0.weight": "decoder.anchor_projection.0.weight",
        "entity_decoder.position_scale.2.bias": "decoder.position_scale.2.bias",
        "entity_decoder.object_box_heads.1.4.bias": "decoder.box_heads.1.4.bias",
        "entity_decoder.subject_box_heads.0.4.bias": "decoder.box_heads.0.4.bias",
        "relation_decoder.subject_box_heads.0.4.bias": "decoder.box_heads.2.4.bias",
        "relation_decoder.object_box_heads.1.4.bias": "decoder.box_heads.3.4.bias",
    }
    for name, origin in pairs.items():
        key, rows = (origin or name, None) if not isinstance(origin, tuple) else origin
        assert torch.equal(own[name], theirs[key][:rows]), name
    assert torch.equal(network.head.projection.weight, kept)


def test_too_few_decoder_layers_are_refused(tmp_path):
    object_detector(num_layers=3).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="relation detector with 2 decoder layers starts from a detector with 4"):
        initialize(tiny.detector(), tmp_path, cut_queries="official")
