"""Records what happens inside a detector, under the names of the recorded intermediates."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rlipv2.layers.mlp import inverse_sigmoid
from rlipv2.layers.position_encoding import image_position_encoding
from rlipv2.models import RelationDetector
from rlipv2.models.decoders import EntityStates
from rlipv2.models.pyramid import FeaturePyramid
from rlipv2.models.queries import PairQueries


class Trace(dict[str, Tensor]):
    """Recorded tensors by official name."""

    def add_map(self, name: str, maps: Tensor) -> str:
        """Statistics and a corner of maps (b, channels, h, w); returns their name."""
        self[f"{name}/mean_std"] = torch.stack([maps.flatten(1).mean(1), maps.flatten(1).std(1)], dim=1)
        self[f"{name}/slice"] = maps[:, :16, :5, :5]
        return name


@contextmanager
def tracing(detector: RelationDetector) -> Iterator[Trace]:
    """Fills the trace during the forward pass made inside the context."""
    trace, handles = Trace(), []

    def on(module: nn.Module, record: Callable[[Any, Any], object]) -> None:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            record(inputs, output)

        handles.append(module.register_forward_hook(hook))

    on(detector.backbone, lambda _, maps: [trace.add_map(f"backbone/{i}", part) for i, part in enumerate(maps)])
    for level, layer in enumerate(detector.pyramid.layers):
        on(layer, partial(_record_map, trace, f"input_proj/{level}"))
    on(detector.pyramid, lambda _, pyramid: _record_pyramid(trace, pyramid, detector, len(detector.backbone.channels)))
    for stage, (fusion, language) in enumerate(
        zip(detector.encoder.fusion_layers, detector.encoder.text_layers, strict=True)
    ):
        on(fusion, partial(_record_fusion, trace, stage))
        on(language, partial(_record_slice, trace, f"lang_layer/{stage}/slice", 9, 12))
    for index, layer in enumerate(detector.encoder.image_layers):
        on(layer, partial(_record_slice, trace, f"encoder/layer{index}/slice", 37, 4))
    on(detector.encoder, lambda inputs, output: _record_encoder(trace, inputs, output))
    on(detector.entity_decoder, lambda _, states: _record_entities(trace, states))
    on(detector.relation_decoder, lambda inputs, states: _record_relations(trace, inputs[1], states, heads))
    heads: dict[str, list[Tensor]] = {"subject": [], "object": []}
    for side, modules in (
        ("subject", detector.relation_decoder.subject_box_heads),
        ("object", detector.relation_decoder.object_box_heads),
    ):
        for head in modules:
            on(head, partial(_append_output, heads[side]))
    on(detector.queries, partial(_record_queries, trace, detector.queries))
    try:
        yield trace
    finally:
        for handle in handles:
            handle.remove()


def _record_map(trace: Trace, name: str, _: object, maps: Tensor) -> None:
    trace.add_map(name, maps)


def _record_slice(trace: Trace, name: str, rows: int, columns: int, _: object, tokens: Tensor) -> None:
    trace[name] = tokens[:, ::rows, ::columns]


def _record_fusion(trace: Trace, stage: int, _: object, fused: tuple[Tensor, Tensor]) -> None:
    trace[f"fuse/{stage}/vis"] = fused[0][..., ::4]
    trace[f"fuse/{stage}/lang/slice"] = fused[1][:, ::9, ::12]


def _append_output(outputs: list[Tensor], _: object, output: Tensor) -> None:
    outputs.append(output)


def _record_pyramid(trace: Trace, pyramid: FeaturePyramid, detector: RelationDetector, num_maps: int) -> None:
    masks = pyramid.padding_mask.split(pyramid.level_sizes, dim=1)
    for level, (mask, shape) in enumerate(zip(masks[:num_maps], pyramid.shapes, strict=False)):
        grid = mask.view(-1, *shape)
        trace[f"backbone/{level}/mask"] = grid
        sine = image_position_encoding(grid, detector.pyramid.dim, pixel_offset=detector.pyramid.position_offset)
        trace[f"pos/{level}/slice"] = sine.permute(0, 3, 1, 2)[:, ::16, ::3, ::3]
    trace["spatial_shapes"] = torch.tensor(pyramid.shapes)
    trace["valid_ratios"] = pyramid.valid_ratios
    trace["mask_flatten"] = pyramid.padding_mask


def _record_encoder(trace: Trace, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    _, pooled, padding = inputs
    memory, texts = output
    trace["text_pooled/slice"], trace["text_pooled/sum"] = pooled[:, ::12], pooled.sum(1)
    trace["text_attention_mask"] = padding[:, None].expand(-1, memory.shape[0])
    trace["memory/slice"] = memory[:, ::7]
    trace["text_memory_resized/slice"] = texts.transpose(1, 2)[:, ::3]


def _record_queries(trace: Trace, module: nn.Module, inputs: tuple, queries: PairQueries) -> None:
    # Anchors are the same for all images and were recorded once.
    learned = queries.position is not None
    trace["init_reference/sub"] = queries.subject_references if learned else queries.subject_references[0]
    trace["init_reference/obj"] = queries.object_references if learned else queries.object_references[0]
    targets = inputs[2]
    if targets is None or queries.position is None:
        return
    rows = torch.cat([queries.position, queries.content], dim=-1)
    trace["ho_query_embed/slice"] = rows[..., :: 4 if module.training else 8]
    empty = torch.ones(rows.shape[:2], dtype=torch.bool)
    for image, target in enumerate(targets):
        used = [*range(len(target)), *range(queries.num_pairs, queries.num_pairs + len(target))]
        trace[f"ho_query_embed/{image}/rows"] = rows[image, used]
        empty[image, used] = False
    trace["key_padding_mask"] = empty
    assert queries.entity_mask is not None
    trace["attn_mask_any"] = (queries.entity_mask & ~empty[:, None, :]).any()


def _record_entities(trace: Trace, states: EntityStates) -> None:
    trace["ho_decoder/hs/slice"] = torch.cat([states.subjects, states.objects], dim=2)[:, :, ::8]
    trace["ho_decoder/refs"] = torch.stack([states.subject_boxes, states.object_boxes], dim=1)


def _record_relations(trace: Trace, entities: EntityStates, states: Tensor, heads: dict[str, list[Tensor]]) -> None:
    trace["verb_decoder/hs/slice"] = states[:, :, ::8]
    references = []
    for side, boxes in (("subject", entities.subject_boxes[-1]), ("object", entities.object_boxes[-1])):
        refined = []
        for shift in heads[side]:
            boxes = (shift + inverse_sigmoid(boxes)).sigmoid()
            refined.append(boxes)
        references.append(torch.stack(refined))
    trace["verb_decoder/refs"] = torch.stack(references, dim=1)
