import copy
from pathlib import Path

import hydra
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import BasePredictionWriter
from torch import nn

from rlipv2 import utils
from rlipv2.pseudo_labels.batches import CaptionBatch, ImageFailure, TaggingBatch
from rlipv2.pseudo_labels.captions import TemplateCaptioner
from rlipv2.pseudo_labels.captions.blip import BlipCaptioner
from rlipv2.pseudo_labels.passes import TaggingInput
from rlipv2.pseudo_labels.records import Group, Tags
from rlipv2.pseudo_labels.tagging import tag_images
from rlipv2.tasks import CaptioningTask, PairTaggingTask
from tests.models import tiny
from tests.pseudo_labels import tiny_blip

NAMES = ["person", "dog", "kite"]
CONF = Path(__file__).parents[2] / "conf"


class Batches(pl.LightningDataModule):
    def __init__(self, batches, class_names=None):
        super().__init__()
        self.batches, self.class_names = batches, class_names

    def predict_dataloader(self):
        return torch.utils.data.DataLoader(self.batches, batch_size=None)


class Predictions(BasePredictionWriter):
    """Keeps predictions; Lightning would try to move them."""

    def __init__(self):
        super().__init__(write_interval="batch")
        self.found = []

    def write_on_batch_end(self, trainer, task, prediction, *_):
        self.found.append(prediction)


def predict(task, *batches):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    predictions = Predictions()
    trainer = pl.Trainer(accelerator="cpu", enable_model_summary=False, callbacks=[predictions], **quiet)
    trainer.predict(task, datamodule=Batches(batches, class_names=NAMES), return_predictions=False)
    return predictions.found


def question(seed, *, pairs=((0, 1), (1, 2))):
    random = np.random.default_rng(seed)
    return TaggingInput(
        image=torch.from_numpy(random.integers(0, 256, (3, 64, 96), np.uint8)),
        boxes_cxcywh=torch.from_numpy(random.uniform(0.2, 0.6, (3, 4)).astype(np.float32)),
        labels=torch.from_numpy(random.integers(0, 3, 3)),
        groups=[Group(np.array(pairs, np.int64), ("riding", "on"))],
    )


def test_candidates_are_scored_in_evaluation_mode_with_the_class_names_of_the_data():
    torch.manual_seed(0)
    tagger = tiny.tagger()
    task = PairTaggingTask(tagger, store_threshold=0.0)
    batch = TaggingBatch(unit=3, image_ids=[5, 9], inputs=[question(0), question(1)])
    (tags,), (nothing,) = predict(task, batch), predict(task, TaggingBatch(unit=4, last=True))
    assert nothing == []
    expected = tag_images(tagger.eval(), batch.inputs, NAMES, store_threshold=0.0)
    for found, other in zip(tags, expected, strict=True):
        assert isinstance(found, Tags)
        assert found.texts == ("riding", "on") * 2
        np.testing.assert_array_equal(found.scores, other.scores)


def test_an_image_that_fails_is_told_with_its_id_and_others_are_scored():
    task = PairTaggingTask(tiny.tagger(), class_names=NAMES, mode="parity", store_threshold=0.0)
    batch = TaggingBatch(unit=0, image_ids=[5, 9], inputs=[question(0, pairs=((0, 3),)), question(1)])
    ((failure, tags),) = predict(task, batch)
    assert isinstance(failure, ImageFailure)
    assert (failure.image_id, failure.kind) == (5, "pair out of range")
    assert len(tags) == 4
    (found,) = predict(PairTaggingTask(tiny.tagger(), class_names=NAMES, store_threshold=0.0), batch)
    assert [len(one) for one in found] == [0, 4]


def test_what_happened_is_counted_until_it_is_taken():
    task = PairTaggingTask(tiny.tagger(), class_names=NAMES)
    batch = TaggingBatch(unit=0, image_ids=[5, 9], inputs=[question(0, pairs=((0, 3),)), question(1)])
    predict(task, batch, batch)
    assert task.take_counts()["pairs out of range"] == 2
    assert sum(task.take_counts().values()) == 0


def test_weights_come_from_a_folder(tmp_path):
    torch.manual_seed(0)
    known, other = tiny.tagger(), tiny.tagger()
    known.config = {**copy.deepcopy(tiny.CONFIG), "_target_": "rlipv2.models.RelationTagger"}
    known.label_space = tiny.LABELS
    known.save_pretrained(tmp_path / "weights")
    batch = TaggingBatch(unit=0, image_ids=[5], inputs=[question(0)])
    task = PairTaggingTask(other, init=tmp_path / "weights", store_threshold=0.0)
    ((tags,),) = predict(task, batch)
    np.testing.assert_array_equal(
        tags.scores, tag_images(known.eval(), batch.inputs, NAMES, store_threshold=0.0)[0].scores
    )
    with pytest.raises(FileNotFoundError, match="initial weights not found"):
        predict(PairTaggingTask(other, init=tmp_path / "nothing"), batch)


def test_precisions_are_names():
    task = PairTaggingTask(tiny.tagger(), encode_dtype="bfloat16")
    ((tags,),) = predict(task, TaggingBatch(unit=0, image_ids=[5], inputs=[question(0)]))
    assert tags.scores.dtype == np.float32
    with pytest.raises(ValueError, match="encode_dtype='half'"):
        PairTaggingTask(tiny.tagger(), encode_dtype="half")


def blip(**options):
    return BlipCaptioner(model=tiny_blip.model(), tokenizer=tiny_blip.tokenizer(), **options)


def test_images_are_described_with_the_seed_of_their_batch():
    captioner = blip(num_captions=4)
    batches = [
        CaptionBatch(unit=0, image_ids=[2, 4], seed=11, images=tiny_blip.images(2)),
        CaptionBatch(unit=0, last=True),
        CaptionBatch(unit=1, image_ids=[2, 4], seed=12, images=tiny_blip.images(2)),
    ]
    task = CaptioningTask(captioner)
    first, nothing, second = predict(task, *batches)
    assert nothing == []
    assert first == captioner.caption(tiny_blip.images(2), seed=11)
    assert second == captioner.caption(tiny_blip.images(2), seed=12) != first


class Small(nn.Module):
    """Describes at most two images at once, and never one that is 9 wide."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.calls = []

    def caption(self, images, *, seed):
        self.calls.append(len(images))
        if len(images) > 2 or any(image.width == 9 for image in images):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [[f"{image.width} wide"] for image in images]


def test_without_enough_memory_batches_are_halved():
    images = [tiny_blip.images(1, (width, 8))[0] for width in (5, 6, 7, 9, 8)]
    task = CaptioningTask(Small())
    (found,) = predict(task, CaptionBatch(unit=0, image_ids=[1, 2, 3, 4, 5], images=images))
    assert [one for one in found if isinstance(one, list)] == [["5 wide"], ["6 wide"], ["7 wide"], ["8 wide"]]
    assert isinstance(found[3], ImageFailure)
    assert (found[3].image_id, found[3].kind) == (4, "out of memory")
    assert task.take_counts() == {"out of memory": 4}  # five, the last three, two, one
    assert not task.take_counts()


def test_captions_of_parts_are_those_of_their_image(monkeypatch):
    monkeypatch.setattr("rlipv2.tasks.captioning.PICTURES", 2)
    images = [tiny_blip.images(1, (width, 8))[0] for width in (5, 6, 7, 9, 8, 4)]
    task = CaptioningTask(Small())
    (found,) = predict(task, CaptionBatch(unit=0, image_ids=[1, 2, 3], images=images, parts=[3, 2, 1]))
    assert found[0] == ["5 wide", "6 wide", "7 wide"]
    assert (found[1].image_id, found[1].kind) == (2, "out of memory")  # one of its parts
    assert found[2] == ["4 wide"]
    assert task.captioner.calls[0] == 2


def test_only_networks_that_describe_images_are_taken():
    for other in (TemplateCaptioner(NAMES), tiny.tagger()):
        with pytest.raises(TypeError, match="expected a network with `caption"):
            CaptioningTask(other)


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "captioner").glob("*.yaml")))
def test_every_captioner_binds_to_its_constructor(name):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(f"captioner/{name}").captioner
    if name == "template":  # the images tell them
        config = {**config, "class_names": NAMES}
    utils.check_config(OmegaConf.create(config))
    assert hydra.utils.get_class(config["_target_"])
