"""Late fusion: decoded queries and texts attend to each other after the decoders, as in RLIPv1."""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rlipv2.layers.deformable import FeedForward
from rlipv2.models.decoders import EntityDecoder, EntityStates, refine_boxes
from rlipv2.models.queries import PairQueries
from rlipv2.structures import TextFeatures


class CrossModalLayer(nn.Module):
    """A pre-norm transformer layer over queries and texts as one sequence."""

    def __init__(self, dim: int, *, num_heads: int, feedforward_dim: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(dim, num_heads, dropout=dropout, batch_first=True)
        self.attention_norm, self.feedforward_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.feedforward = FeedForward(dim, feedforward_dim, dropout)
        self.dropout = dropout
        nn.init.xavier_uniform_(self.self_attention.out_proj.weight)

    def forward(self, tokens: Float[Tensor, "b n d"], hidden: Bool[Tensor, "b n n"] | None) -> Tensor:
        """Updated tokens; `hidden` is True where a token (row) must not see another (column)."""
        normed = self.attention_norm(tokens)
        if hidden is not None:
            hidden = hidden.repeat_interleave(self.self_attention.num_heads, dim=0)
        update, _ = self.self_attention(normed, normed, normed, attn_mask=hidden, need_weights=False)
        tokens = tokens + F.dropout(update, self.dropout, self.training)
        return tokens + self.feedforward(self.feedforward_norm(tokens))


class CrossModalStack(nn.Module):
    """Layers with one shared norm on the output of each."""

    def __init__(self, dim: int, *, num_layers: int, num_heads: int, feedforward_dim: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            CrossModalLayer(dim, num_heads=num_heads, feedforward_dim=feedforward_dim, dropout=dropout)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        queries: Float[Tensor, "b n d"],
        texts: Float[Tensor, "b t d"],
        text_padding: Bool[Tensor, "b t"] | None = None,
        query_mask: Bool[Tensor, "b n n"] | None = None,
    ) -> tuple[Float[Tensor, "l b n d"], Float[Tensor, "l b t d"]]:
        """Queries and texts after every layer.

        Args:
            queries: decoded states.
            texts: what they are matched with.
            text_padding: True on texts that nobody sees.
            query_mask: True where a query (row) must not see another (column); texts see what the first query sees.
        """
        hidden = _hidden(queries, texts, text_padding, query_mask)
        tokens, outputs = torch.cat([queries, texts], dim=1), []
        for layer in self.layers:
            tokens = layer(tokens, hidden)
            outputs.append(self.norm(tokens))
        stacked = torch.stack(outputs)
        return stacked[:, :, : queries.shape[1]], stacked[:, :, queries.shape[1] :]


def _hidden(
    queries: Tensor,
    texts: Tensor,
    text_padding: Bool[Tensor, "b t"] | None,
    query_mask: Bool[Tensor, "b n n"] | None,
) -> Bool[Tensor, "b s s"] | None:
    """The mask of the joint sequence, None where everything is seen."""
    if text_padding is None and query_mask is None:
        return None
    (batch, count), length = queries.shape[:2], queries.shape[1] + texts.shape[1]
    hidden = torch.zeros(batch, length, length, dtype=torch.bool, device=queries.device)
    if query_mask is not None:
        hidden[:, :count, :count] = query_mask
        hidden[:, count:, :count] = query_mask[:, :1]
    if text_padding is not None:
        hidden[:, :, count:] = text_padding[:, None]
    return hidden


class LateFusion(nn.Module):
    """Fuses the last decoded entities with the object texts and the last relations with the relation texts.

    The ablation baseline of RLIPv2 (`fusion=late`): fusion layer k serves the heads of decoder layer k. The
    box heads read the fused entities too, around the references of decoder layer k. RLIP (NeurIPS 2022),
    section 3.2. Queries that are hidden from others in the decoders (not in the official code) are hidden here too.
    Official: models/ParSetransformer.py, ParSeDeformableTransformer, `fusion_type MDETR_attn`.

    Args:
        dim: width.
        num_layers: fusion layers, as many as decoder layers.
        num_heads: heads.
        feedforward_dim: hidden width.
        dropout: of the layers.
    """

    def __init__(
        self,
        *,
        dim: int = 256,
        num_layers: int = 3,
        num_heads: int = 8,
        feedforward_dim: int = 2048,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_layers = num_layers
        sizes = {"num_layers": num_layers, "num_heads": num_heads, "feedforward_dim": feedforward_dim}
        self.entity = CrossModalStack(dim, dropout=dropout, **sizes)
        self.relation = CrossModalStack(dim, dropout=dropout, **sizes)

    def forward(
        self,
        entities: EntityStates,
        relations: Float[Tensor, "l b q d"],
        texts: Float[Tensor, "b t d"],
        features: TextFeatures,
        decoder: EntityDecoder,
        queries: PairQueries,
    ) -> tuple[EntityStates, Float[Tensor, "l b q d"], Float[Tensor, "l b t d"]]:
        """Entities with their boxes, relations and texts of every fusion layer.

        Args:
            entities: of all decoder layers; the last states are fused.
            relations: the same.
            texts: in the width of the decoders.
            features: tells where relation texts begin and which texts are padding.
            decoder: whose box heads are applied to the fused entities.
            queries: what was decoded, for their masks.
        """
        split, num_pairs = features.num_objects, relations.shape[2]
        padding = features.padding_mask
        masked = None if padding is None or not bool(padding.any()) else padding.expand(len(texts), -1)
        fused, object_texts = self.entity(
            torch.cat([entities.subjects[-1], entities.objects[-1]], dim=1),
            texts[:, :split],
            None if masked is None else masked[:, :split],
            queries.entity_mask,
        )
        fused_relations, relation_texts = self.relation(
            relations[-1], texts[:, split:], None if masked is None else masked[:, split:], queries.relation_mask
        )
        subjects, objects = fused[:, :, :num_pairs], fused[:, :, num_pairs:]
        boxes = [
            (
                refine_boxes(decoder.subject_box_heads[layer], subjects[layer], references[0]),
                refine_boxes(decoder.object_box_heads[layer], objects[layer], references[1]),
            )
            for layer, references in enumerate(entities.references)
        ]
        return (
            dataclasses.replace(
                entities,
                subjects=subjects,
                objects=objects,
                subject_boxes=torch.stack([subject for subject, _ in boxes]),
                object_boxes=torch.stack([object_ for _, object_ in boxes]),
            ),
            fused_relations,
            torch.cat([object_texts, relation_texts], dim=2),
        )
