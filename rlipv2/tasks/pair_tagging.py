"""Prediction with `RelationTagger` for pseudo-labelling: candidate pairs of detection images in, relations out."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch

from rlipv2.models.tagger import RelationTagger
from rlipv2.models.text_features import TextFeatureCache
from rlipv2.pseudo_labels.batches import ImageFailure, TaggingBatch
from rlipv2.pseudo_labels.records import Tags
from rlipv2.pseudo_labels.tagging import OutOfRange, TagFailure, tag_images
from rlipv2.tasks.initial_weights import initialize

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class PairTaggingTask(pl.LightningModule):
    """The steps of `Trainer.predict` (with `return_predictions=False`) that score candidate relations.

    What the arguments mean is told at `tag_images`.

    Args:
        detector: the network.
        class_names: what the labels count in; None asks the data module (`class_names`).
        init: weight folder; None for a network that has its weights.
        mode: `parity` or `fast`.
        store_threshold: what a score must exceed.
        groups_per_pass: groups of a chunk.
        images_per_pass: most images that are encoded together.
        own_texts: ask about a pair only the texts of its own group.
        out_of_range: what is left out where a pair has a box that the image does not have; None: as the mode says.
        encode_dtype: precision of backbone and encoder: `float32`, `bfloat16` or `float16`.

    Attributes:
        counts: what happened since a writer took it: scores that are no number, pairs left out, ...
    """

    def __init__(
        self,
        detector: RelationTagger,
        *,
        class_names: Sequence[str] | None = None,
        init: str | Path | None = None,
        mode: Literal["parity", "fast"] = "fast",
        store_threshold: float = 0.05,
        groups_per_pass: int = 16,
        images_per_pass: int = 8,
        own_texts: bool = False,
        out_of_range: OutOfRange | None = None,
        encode_dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    ) -> None:
        super().__init__()
        if encode_dtype not in PRECISIONS:
            raise ValueError(f"encode_dtype={encode_dtype!r}: expected one of {tuple(PRECISIONS)}")
        self.detector = detector
        self.class_names = None if class_names is None else tuple(class_names)
        self.init = None if init is None else str(init)
        self.options: dict[str, Any] = {
            "mode": mode,
            "store_threshold": store_threshold,
            "groups_per_pass": groups_per_pass,
            "images_per_pass": images_per_pass,
            "own_texts": own_texts,
            "out_of_range": out_of_range,
            "encode_dtype": PRECISIONS[encode_dtype],
        }
        self.texts = TextFeatureCache(detector.text_encoder)
        self.counts: Counter[str] = Counter()
        self._initialized = False

    def setup(self, stage: str) -> None:
        """Loads the weights, and asks the data module for the class names where none were given."""
        if self.class_names is None:
            self.class_names = tuple(self.trainer.datamodule.class_names)  # type: ignore[attr-defined]
        if self.init is not None and not self._initialized:
            initialize(self.detector, self.init, cut_queries="official")
            self._initialized = True

    def transfer_batch_to_device(self, batch: TaggingBatch, device: torch.device, dataloader_idx: int) -> TaggingBatch:
        """The batch as it is: `tag_images` moves what the network reads."""
        return batch

    def predict_step(self, batch: TaggingBatch, batch_idx: int, dataloader_idx: int = 0) -> list[Tags | ImageFailure]:
        """The relations of every image of the batch, or why it has none."""
        assert self.class_names is not None
        answers = tag_images(
            self.detector, batch.inputs, self.class_names, texts=self.texts, counts=self.counts, **self.options
        )
        return [
            ImageFailure(image_id, answer.kind, answer.message) if isinstance(answer, TagFailure) else answer
            for image_id, answer in zip(batch.image_ids, answers, strict=True)
        ]

    def take_counts(self) -> Counter[str]:
        """The counts since the last call."""
        counts, self.counts = self.counts, Counter()
        return counts
