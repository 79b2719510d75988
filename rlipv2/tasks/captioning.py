"""Prediction with a captioner for pseudo-labelling."""

from collections import Counter

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn

from rlipv2.pseudo_labels.batches import CaptionBatch, ImageFailure
from rlipv2.pseudo_labels.captions.protocol import Captioner

PICTURES = 32
"""Parts of images that go through the network together, as officially; an image may have a hundred."""


class CaptioningTask(pl.LightningModule):
    """The steps of `Trainer.predict` (with `return_predictions=False`) that describe images.

    If the GPU's memory does not suffice, a batch is described in halves; an image that does not fit alone fails.

    Args:
        captioner: a network with `caption`.

    Attributes:
        counts: what happened since a writer took it: batches that did not fit the GPU's memory.

    Raises:
        TypeError: a captioner that is no network or cannot describe images.
    """

    def __init__(self, captioner: nn.Module) -> None:
        super().__init__()
        if not isinstance(captioner, nn.Module) or not isinstance(captioner, Captioner):
            raise TypeError(
                f"captioner={type(captioner).__name__}: expected a network with `caption(images, *, seed)`; captions "
                "of files and templates need no Trainer"
            )
        self.captioner = captioner
        self.counts: Counter[str] = Counter()

    def transfer_batch_to_device(self, batch: CaptionBatch, device: torch.device, dataloader_idx: int) -> CaptionBatch:
        """The batch as it is: its images are pictures, which the captioner turns into tensors."""
        return batch

    def predict_step(
        self, batch: CaptionBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> list[list[str] | ImageFailure]:
        """The captions of every image of the batch, drawn with the seed of the batch, or why it has none.

        Those of several parts of an image come one after the other; an image of which one part failed has none.
        """
        if not batch.parts:
            return self._described(batch, 0, len(batch.images))
        answers: list[list[str] | ImageFailure] = []
        for start in range(0, len(batch.images), PICTURES):
            answers += self._described(batch, start, min(start + PICTURES, len(batch.images)))
        left, results = iter(answers), list[list[str] | ImageFailure]()
        for parts in batch.parts:
            some = [next(left) for _ in range(parts)]
            failure = next((answer for answer in some if isinstance(answer, ImageFailure)), None)
            results.append(failure or [caption for answer in some if isinstance(answer, list) for caption in answer])
        return results

    def _described(self, batch: CaptionBatch, first: int, end: int) -> list[list[str] | ImageFailure]:
        """The answers for pictures `first` to `end` - 1."""
        if first == end:
            return []
        assert isinstance(self.captioner, Captioner)
        try:
            return [*self.captioner.caption(batch.images[first:end], seed=batch.seed)]
        except torch.OutOfMemoryError:
            pass  # the traceback holds tensors: go on when it is gone
        self.counts["out of memory"] += 1
        if end - first == 1:
            message = "the captions of a single image do not fit the GPU's memory; lower captioner.num_captions"
            row = int(np.searchsorted(np.cumsum(batch.parts), first, side="right")) if batch.parts else first
            image = batch.image_ids[row]
            return [ImageFailure(image, "out of memory", message)]
        middle = (first + end) // 2
        return self._described(batch, first, middle) + self._described(batch, middle, end)

    def take_counts(self) -> Counter[str]:
        """The counts since the last call."""
        counts, self.counts = self.counts, Counter()
        return counts
