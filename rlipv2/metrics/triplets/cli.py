"""`python -m rlipv2.metrics triplets`: average precision and recall of triplets of any prediction file."""

import argparse
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from rlipv2.metrics.checks import largest_coordinate
from rlipv2.metrics.command import check_outputs, note_compressed, note_normalised, number_or_all, write
from rlipv2.metrics.files import EvaluationFileError
from rlipv2.metrics.pair_files import PairPredictionFile
from rlipv2.metrics.scene_graph_files import SceneGraphFile, runs
from rlipv2.metrics.triplets.protocol import TripletMatches, TripletProtocol, TripletResult, match_images, summarise


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    parser = commands.add_parser(
        "triplets",
        help="average precision per triplet and per relation, and recall, for your own data",
        description="Mean average precision per triplet class and per relation, and recall among the best K. "
        "File layouts: rlipv2/metrics/pair_files.py and scene_graph_files.py.",
    )
    parser.set_defaults(run=run)
    rules = TripletProtocol()
    parser.add_argument("--predictions", type=Path, required=True, metavar="FILE.npz")
    parser.add_argument("--ground-truth", type=Path, required=True, metavar="FILE.npz")
    parser.add_argument("--json", type=Path, metavar="OUT", help="where to write the figures")
    parser.add_argument("--per-class", type=Path, metavar="OUT.npz", help="where to write the arrays over the classes")
    parser.add_argument(
        "--top-k", type=number_or_all, default=rules.top_k, metavar="N", help="triplets per image, or `all`"
    )
    parser.add_argument("--recall-at", type=int, nargs="+", default=list(rules.recall_at), metavar="K")
    parser.add_argument("--match-threshold", type=float, default=rules.match_threshold, metavar="X")
    parser.add_argument("--box-convention", choices=("continuous", "pixel"), default=rules.box_convention)


def run(options: argparse.Namespace) -> None:
    """Evaluates, prints the figures and writes the files asked for.

    Raises:
        EvaluationFileError: an input or option cannot be used or an output cannot be written.
    """
    check_outputs(options.json, options.per_class, inputs=[options.predictions, options.ground_truth])
    try:
        rules = TripletProtocol(
            top_k=options.top_k,
            recall_at=tuple(options.recall_at),
            match_threshold=options.match_threshold,
            box_convention=options.box_convention,
        )
    except ValueError as error:
        text = str(error)
        for name in vars(TripletProtocol()):
            text = text.replace(name, f"--{name.replace('_', '-')}")
        raise EvaluationFileError(text) from error
    labels = SceneGraphFile.from_npz(options.ground_truth)
    note_normalised(options.ground_truth, largest_coordinate(labels.truth.boxes))
    with PairPredictionFile(options.predictions, labels.image_ids, labels.path) as predictions:
        note_compressed(options.predictions, predictions.compressed)
        result = evaluate(predictions, labels, rules)
        note_normalised(options.predictions, predictions.largest_coordinate)
    print(as_table(result, num_images=len(labels.image_ids)))
    if options.json is not None:
        content: dict[str, Any] = {
            "protocol": "triplets",
            "predictions": str(options.predictions),
            "ground_truth": str(options.ground_truth),
            "images": len(labels.image_ids),
            "labelled_pairs": int(result.num_labelled.sum()),
            "triplet_classes": len(result.triplets),
            "settings": vars(rules),
            **{key: None if np.isnan(value) else value for key, value in result.values().items()},
        }
        write(options.json, (json.dumps(content, indent=1) + "\n").encode())
    if options.per_class is not None:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **result.arrays())
        write(options.per_class, buffer.getvalue())


def evaluate(
    predictions: PairPredictionFile, labels: SceneGraphFile, rules: TripletProtocol, *, step: int = 128
) -> TripletResult:
    """The figures of a prediction file, holding `step` images in memory at a time.

    Raises:
        EvaluationFileError: values that are not finite, or classes, relations or boxes out of range.
    """
    parts = [
        match_images(pairs.best(scores, rules.top_k), truth, rules, indices=positions)
        for pairs, scores, truth, positions in runs(predictions, labels, step)
    ]
    return summarise(TripletMatches.concatenate(parts).unique(), predictions.num_relations, rules.recall_at)


def as_table(result: TripletResult, *, num_images: int) -> str:
    """The means in per cent, one per line."""
    labelled = result.num_labelled_relations
    lines = [
        f"triplets: {num_images:,} images, {int(labelled.sum()):,} labelled pairs of {len(result.triplets)} triplet "
        f"classes and {np.count_nonzero(labelled)} of {len(labelled)} relations; per cent"
    ]
    for key, value in result.values().items():
        lines.append(key.ljust(16) + ("-" if np.isnan(value) else f"{100 * value:.2f}").rjust(8))
    return "\n".join(lines)
