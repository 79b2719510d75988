"""Groups that go through the tagger together, and the relations that come out: everything but the network."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from rlipv2.pseudo_labels.records import Group, Tags

Chunk = tuple[list[Group], tuple[str, ...]]
"""Groups, and the distinct texts of all of them in order of appearance."""


def chunks(groups: Sequence[Group], size: int) -> list[Chunk]:
    """Every `size` consecutive groups with their texts, which are encoded together with the image.

    Official: `verb_tagger_with_text` in generate_relations_using_verb_tagger.py, `img_inference_batch`.
    """
    parts = [list(groups[start : start + size]) for start in range(0, len(groups), size)]
    return [(part, tuple(dict.fromkeys(text for group in part for text in group.texts))) for part in parts]


def emit(
    groups: Sequence[Group],
    texts: Sequence[str],
    scores: Float[np.ndarray, "g p t"],
    *,
    threshold: float,
    own_texts: bool = False,
    counts: Counter[str] | None = None,
) -> Tags:
    """The relations of a chunk whose score is above the threshold, by group, pair and text.

    Args:
        groups: of the chunk.
        texts: of the chunk.
        scores: probability of every text for every slot of every group; slots beyond the pairs of a group are unused,
            texts beyond those of the chunk too.
        threshold: what a score must exceed; compared in float32, as officially.
        own_texts: only the texts of the group that a pair is in. Officially every text of the chunk counts for every
            pair of it, also one that captions have for other classes.
        counts: "scores that are no number" is added to; such scores are not kept.
    """
    pairs = [len(group.pairs) for group in groups]
    used = np.arange(scores.shape[1]) < np.array(pairs, np.int64).reshape(-1, 1)
    kept = (scores > np.float32(threshold)) & used[:, :, None]
    if own_texts:
        own = np.zeros((len(groups), scores.shape[2]), bool)
        for row, group in enumerate(groups):
            members = set(group.texts)
            own[row, : len(texts)] = [text in members for text in texts]
        kept &= own[:, None]
    kept[:, :, len(texts) :] = False
    if counts is not None:
        counts["scores that are no number"] += int(np.isnan(scores[:, :, : len(texts)][used]).sum())
    which, slots, columns = kept.nonzero()
    offsets = np.concatenate([[0], np.cumsum(pairs)[:-1]]).astype(np.int64) if groups else np.zeros(0, np.int64)
    flat = np.concatenate([group.pairs for group in groups]) if groups else np.zeros((0, 2), np.int64)
    return Tags(
        flat[offsets[which] + slots], tuple(texts[column] for column in columns.tolist()), scores[which, slots, columns]
    )


def joined(parts: Iterable[Tags]) -> Tags:
    """The relations of all chunks of an image."""
    some = list(parts)
    return Tags(
        np.concatenate([np.zeros((0, 2), np.int64), *(part.pairs for part in some)]),
        tuple(text for part in some for text in part.texts),
        np.concatenate([np.zeros(0, np.float32), *(part.scores for part in some)]),
    )
