"""The part of a detector that becomes an ONNX graph: from pixels to scored pairs, with constant texts."""

import copy
from typing import Literal

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor, nn

from rlipv2.layers.deformable import MultiScaleDeformableAttention
from rlipv2.models.detector import RelationDetector
from rlipv2.models.postprocess import score_pairs
from rlipv2.ops.padding import normalize_images
from rlipv2.structures import TextFeatures


class ExportedDetector(nn.Module):
    """A detector for one label space whose inputs and outputs are plain tensors.

    The text features are constants, so the text encoder is left out. The detector is copied, computes in float32 all
    through, and samples by `sampling`.

    Args:
        detector: the network.
        texts: features of the label space.
        mode: see `rlipv2.models.postprocess.postprocess`.
        subject_label: the same.
        subject_filter: the same; pairs that it removes get relation scores of 0.
        sampling: sampling function of the deformable attention.
    """

    pooled: Tensor

    def __init__(
        self,
        detector: RelationDetector,
        texts: TextFeatures,
        *,
        mode: Literal["hoi", "scene_graph"],
        subject_label: int,
        subject_filter: bool,
        sampling: str,
    ) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector).float().eval().requires_grad_(False)
        self.detector.text_encoder = nn.Identity()  # type: ignore[assignment]
        self.detector.backbone.half_precision = False
        for module in self.detector.modules():
            if isinstance(module, MultiScaleDeformableAttention):
                module.backend = sampling
        self.register_buffer("pooled", texts.pooled.detach().clone().float())
        self.num_objects = texts.num_objects
        self.mode, self.subject_label, self.subject_filter = mode, subject_label, subject_filter

    def forward(
        self, images: Num[Tensor, "b 3 h w"], padding_mask: Bool[Tensor, "b h w"] | None = None
    ) -> tuple[Tensor, ...]:
        """What `rlipv2.export.description.OUTPUTS` names; boxes x1 y1 x2 y2, 0-1 of the image without padding.

        `images` are RGB, 0-255; `padding_mask` is True on padding, None: there is none.
        """
        if padding_mask is None:
            padding_mask = torch.zeros_like(images[:, 0], dtype=torch.bool)
        normalized: Float[Tensor, "b 3 h w"] = normalize_images(images, padding_mask)
        # no mask instead of an empty one: whether a mask is empty cannot be asked in a graph
        texts = TextFeatures(pooled=self.pooled, padding_mask=None, num_objects=self.num_objects)
        output = self.detector(normalized, padding_mask, texts)
        found = score_pairs(
            output, mode=self.mode, subject_label=self.subject_label, subject_filter=self.subject_filter
        )
        return (
            found.subject_boxes,
            found.object_boxes,
            found.subject_labels,
            found.object_labels,
            found.subject_scores,
            found.object_scores,
            found.relation_scores * found.keep[..., None],
        )
