"""`python -m rlipv2.metrics open_images`: scene-graph figures of a prediction file by every protocol."""

import argparse
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from rlipv2.metrics.checks import largest_coordinate
from rlipv2.metrics.command import check_outputs, not_negative, note_compressed, note_normalised, write
from rlipv2.metrics.files import EvaluationFileError
from rlipv2.metrics.open_images.files import evaluate
from rlipv2.metrics.open_images.protocol import OpenImagesProtocol
from rlipv2.metrics.open_images.report import as_json, as_table, per_class_arrays
from rlipv2.metrics.open_images.summary import LiteratureResult
from rlipv2.metrics.pair_files import PairPredictionFile
from rlipv2.metrics.scene_graph_files import SceneGraphFile

RULES = {
    "official_nms": {"nms": True, "phrase_index_bug": True},
    "official_no_nms": {"nms": False, "phrase_index_bug": True},
    "corrected_phrase_index_nms": {"nms": True, "phrase_index_bug": False},
}
"""What tells the variants of the official protocol apart."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    parser = commands.add_parser(
        "open_images",
        help="Open Images scene-graph figures",
        description="Open Images v6 scene-graph figures by the official RLIPv2 rules (per triplet class) and by those "
        "of the literature (PySGG, per relation). The latter are always told beside the former. File layouts: "
        "rlipv2/metrics/pair_files.py and scene_graph_files.py.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--predictions", type=Path, required=True, metavar="FILE.npz")
    parser.add_argument("--ground-truth", type=Path, required=True, metavar="FILE.npz")
    parser.add_argument("--json", type=Path, metavar="OUT", help="where to write the figures")
    parser.add_argument("--per-class", type=Path, metavar="OUT.npz", help="where to write the arrays over the classes")
    parser.add_argument(
        "--protocol",
        choices=(*RULES, LiteratureResult.name),
        action="append",
        help=f"figures to compute, repeatable; default: all. {LiteratureResult.name} is always among them, "
        "and official_nms if no official variant is named",
    )
    parser.add_argument(
        "--nms",
        action=argparse.BooleanOptionalAction,
        help="only the official variants with or without suppression",
    )
    parser.add_argument(
        "--phrase-index-bug",
        action=argparse.BooleanOptionalAction,
        help="only the official variants that judge phrases as the official code does, or only the corrected one",
    )
    rules = OpenImagesProtocol()
    parser.add_argument("--nms-threshold", type=float, default=rules.nms_threshold, metavar="X")
    parser.add_argument("--nms-alpha", type=not_negative, default=rules.nms_alpha, metavar="X", help="subject exponent")
    parser.add_argument("--nms-beta", type=not_negative, default=rules.nms_beta, metavar="X", help="object exponent")
    parser.add_argument("--phrase-nms-threshold", type=float, default=rules.phrase_nms_threshold, metavar="X")


def variants(options: argparse.Namespace) -> list[OpenImagesProtocol]:
    """The variants of the official protocol that the options ask for."""
    base = OpenImagesProtocol(
        nms_threshold=options.nms_threshold,
        nms_alpha=options.nms_alpha,
        nms_beta=options.nms_beta,
        phrase_nms_threshold=options.phrase_nms_threshold,
    )
    chosen = [name for name in RULES if options.protocol is None or name in options.protocol] or ["official_nms"]
    for option in ("nms", "phrase_index_bug"):
        wanted = getattr(options, option)
        chosen = [name for name in chosen if wanted is None or RULES[name][option] == wanted]
    return [dataclasses.replace(base, **RULES[name]) for name in chosen]


def run(options: argparse.Namespace) -> None:
    """Evaluates, prints the table and writes the files asked for.

    Raises:
        EvaluationFileError: an input cannot be used or an output cannot be written.
    """
    check_outputs(options.json, options.per_class, inputs=[options.predictions, options.ground_truth])
    rules = variants(options)
    if not rules:
        raise EvaluationFileError("--protocol, --nms and --phrase-index-bug contradict each other; leave one out")
    labels = SceneGraphFile.from_npz(options.ground_truth)
    note_normalised(options.ground_truth, largest_coordinate(labels.truth.boxes))
    with PairPredictionFile(options.predictions, labels.image_ids, labels.path) as predictions:
        note_compressed(options.predictions, predictions.compressed)
        results = evaluate(predictions, labels, rules)
        note_normalised(options.predictions, predictions.largest_coordinate)
    official, literature = results.official, results.literature
    print(as_table(official, literature, rules[0], num_images=len(labels.image_ids)))
    if options.json is not None:
        content: dict[str, Any] = {
            "dataset": "open_images",
            "predictions": str(options.predictions),
            "ground_truth": str(options.ground_truth),
            "images": len(labels.image_ids),
            "gt_relations": int(literature.num_labelled.sum()),
            "triplet_kinds": len(results.classes),
            "nms_settings": {
                "threshold": options.nms_threshold,
                "alpha": options.nms_alpha,
                "beta": options.nms_beta,
                "phrase_threshold": options.phrase_nms_threshold,
            },
        }
        content |= as_json(official, literature)
        write(options.json, (json.dumps(content, indent=1) + "\n").encode())
    if options.per_class is not None:
        arrays = per_class_arrays({result.name: result for result in official}, literature, results.classes)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{name.replace("/", "_"): values for name, values in arrays.items()})
        write(options.per_class, buffer.getvalue())
