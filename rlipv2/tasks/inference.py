"""What the weights of a run are evaluated with, for `inference.json` of their folder."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from rlipv2.models.postprocess import postprocess as pair_postprocess
from rlipv2.structures import InferenceSettings, LabelSpace


def inference_settings(
    postprocess: Callable[..., Any], datamodule: Any, metrics: Iterable[Any] = ()
) -> InferenceSettings | None:
    """How a run prepares images and scores pairs; None where it predicts no pairs, or its images are not resized.

    Args:
        postprocess: `rlipv2.models.postprocess.postprocess`, with arguments set by `functools.partial`.
        datamodule: its `eval_transform` tells the sizes, `label_space` the name of the subjects, and what it tells its
            metrics which (relation, object) count (HICO-DET, V-COCO).
        metrics: the first one with a suppression of repeated pairs tells its threshold; without one it stays that
            of the official evaluators.
    """
    function, options = postprocess, {}
    if isinstance(postprocess, partial):
        function, options = postprocess.func, dict(postprocess.keywords)
    transform, space = getattr(datamodule, "eval_transform", None), getattr(datamodule, "label_space", None)
    if function is not pair_postprocess or transform is None or not hasattr(transform, "short_sides") or space is None:
        return None
    changes: dict[str, Any] = {}
    rules = next((metric.rules for metric in metrics if hasattr(getattr(metric, "rules", None), "nms")), None)
    if rules is not None:
        changes["nms"] = float(rules.nms_threshold) if rules.nms else None
    mode, filtered = options.get("mode", "hoi"), options.get("subject_filter", False)
    if mode == "hoi" or filtered:
        changes["subject"] = space.objects[options.get("subject_label", 0)]
    return InferenceSettings(
        short_side=max(transform.short_sides),
        max_size=transform.max_size,
        mode=mode,
        subject_filter=filtered,
        possible=possible_names(getattr(datamodule, "metric_arguments", dict)(), space),
        **changes,
    )


def possible_names(arguments: Mapping[str, Any], space: LabelSpace) -> tuple[tuple[str, str], ...] | None:
    """(relation, object) names that a metric counts, by the arguments it gets; None if these tell nothing.

    "missing objects" goes with every relation.
    """
    if arguments.get("hois") is not None:
        rows = np.asarray(arguments["hois"])
    elif arguments.get("validity") is not None:
        rows = np.argwhere(np.asarray(arguments["validity"]) > 0)
    else:
        return None
    pairs = {(int(relation), int(object_)) for relation, object_ in rows}
    if space.missing_object is not None:
        pairs |= {(relation, space.missing_object) for relation in range(len(space.relations))}
    return tuple((space.relations[relation], space.objects[object_]) for relation, object_ in sorted(pairs))
