"""Open Images results under the names of either code, as a table to read and as arrays."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Shaped

from rlipv2.metrics.open_images.protocol import OpenImagesProtocol
from rlipv2.metrics.open_images.summary import LiteratureResult, OfficialResult
from rlipv2.metrics.pairs import TripletClasses

_TITLES = {
    "official_nms": "official RLIPv2, NMS",
    "official_no_nms": "official RLIPv2, no NMS",
    "corrected_phrase_index_nms": "official RLIPv2, NMS, phrases corrected",
    "open_images_protocol": "literature (PySGG), per relation",
}
_SHORT = {"RelD": "rel", "PhrD": "phr"}


def as_json(
    official: Sequence[OfficialResult], literature: LiteratureResult
) -> dict[str, dict[str, dict[str, int] | float | None]]:
    """One entry per protocol, with the keys of its code; fractions, None if nothing is labelled."""
    results: dict[str, dict[str, dict[str, int] | float | None]] = {}
    for result in official:
        results[result.name] = {**_or_none(result.values()), "counts": result.counts()}
    return results | {literature.name: {**_or_none(literature.values())}}


def _or_none(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: None if np.isnan(value) else value for key, value in values.items()}


def as_table(
    official: Sequence[OfficialResult], literature: LiteratureResult, rules: OpenImagesProtocol, *, num_images: int
) -> str:
    """The published columns in per cent, one line per protocol."""
    labelled = literature.num_labelled
    first = official[0].num_labelled
    lines = [
        f"Open Images scene graphs: {num_images:,} images, {int(labelled.sum()):,} labelled pairs of "
        f"{np.count_nonzero(first)} triplet classes and {np.count_nonzero(labelled)} of {len(labelled)} relations",
        f"NMS: pairs {rules.nms_threshold} / {rules.nms_alpha} / {rules.nms_beta}, "
        f"phrases {rules.phrase_nms_threshold}",
        "",
        "per cent".ljust(42) + "".join(title.rjust(11) for title in ("R@50", "wmAP_rel", "wmAP_phr", "score_wtd")),
    ]
    for result in official:
        names = ("max recall@50 (RelD)", "wmAP@100 (RelD)", "wmAP@100 (PhrD)", "score_wtd (wmAP)")
        lines.append(_line(_TITLES[result.name], [result.values()[name] for name in names]))
    names = ("R50", "wmAP_rel", "wmAP_phr", "score_wtd")
    lines.append(_line(_TITLES[literature.name], [literature.values()[name] for name in names]))
    lines.append("official: average precision per triplet class; figures of the two protocols must not be compared")
    return "\n".join(lines)


def _line(title: str, values: Sequence[float]) -> str:
    cells = ("-" if np.isnan(value) else f"{100 * value:.2f}" for value in values)
    return title.ljust(42) + "".join(cell.rjust(11) for cell in cells)


def per_class_arrays(
    official: Mapping[str, OfficialResult], literature: LiteratureResult, classes: TripletClasses
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Arrays over the triplet classes and, under `pysgg/`, over the relations.

    `triplets` has the classes, rows (subject, relation, object); `num_labelled` and
    `<prefix>/<rel or phr>_<50 or 100>_<figure>` follow its rows.

    Args:
        official: results by the prefix of their names.
        literature: the other protocol's.
        classes: the triplet classes.
    """
    arrays: dict[str, np.ndarray] = {"triplets": classes.triplets}
    for prefix, result in official.items():
        arrays["num_labelled"] = result.num_labelled
        for (kind, k), figures in result.figures.items():
            arrays |= {f"{prefix}/{_SHORT[kind]}_{k}_{name}": values for name, values in vars(figures).items()}
    arrays["pysgg/num_labelled"] = literature.num_labelled
    for short, figures in (("rel", literature.relations), ("phr", literature.phrases)):
        arrays |= {f"pysgg/{short}_{name}": values for name, values in vars(figures).items()}
    return arrays
