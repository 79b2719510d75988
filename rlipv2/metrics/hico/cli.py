"""`python -m rlipv2.metrics hico`: HICO-DET figures of a prediction file."""

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from rlipv2.metrics.checks import largest_coordinate
from rlipv2.metrics.command import check_outputs, not_negative, note_compressed, note_normalised, number_or_all, write
from rlipv2.metrics.files import EvaluationFileError
from rlipv2.metrics.hico.files import GroundTruthFile, PredictionFile, evaluate
from rlipv2.metrics.hico.protocol import HICOProtocol
from rlipv2.metrics.hico.report import as_json, as_table, per_class_arrays

SPLITS = ("uc_rf", "uc_nf", "uo", "uv")


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    hico = commands.add_parser(
        "hico",
        help="HICO-DET mean average precision",
        description="HICO-DET mean average precision by the official Python and the MATLAB rules. "
        "File layouts: rlipv2/metrics/hico/files.py.",
    )
    hico.set_defaults(run=run)
    hico.add_argument("--predictions", type=Path, required=True, metavar="FILE.npz")
    hico.add_argument(
        "--ground-truth",
        type=Path,
        required=True,
        metavar="FILE",
        help=".npz, or an annotation file of HICO-DET: test_hico.json, anno_bbox.mat, instances_test2015.json",
    )
    hico.add_argument("--json", type=Path, metavar="OUT", help="where to write the figures")
    hico.add_argument("--per-class", type=Path, metavar="OUT.npz", help="where to write the arrays over the classes")
    hico.add_argument(
        "--split", choices=SPLITS, action="append", default=[], help="zero-shot split to average over; repeatable"
    )
    hico.add_argument(
        "--protocol", choices=("python", "matlab"), default="python", help="whose figures lead the JSON file"
    )
    add_rules(hico)


def add_rules(parser: argparse.ArgumentParser) -> None:
    """The fields of `HICOProtocol` as options."""
    rules = HICOProtocol()
    parser.add_argument("--nms", action=argparse.BooleanOptionalAction, default=rules.nms, help="pairwise suppression")
    parser.add_argument("--nms-threshold", type=float, default=rules.nms_threshold, metavar="X")
    parser.add_argument("--nms-alpha", type=not_negative, default=rules.nms_alpha, metavar="X", help="subject exponent")
    parser.add_argument("--nms-beta", type=not_negative, default=rules.nms_beta, metavar="X", help="object exponent")
    parser.add_argument(
        "--top-k", type=number_or_all, default=rules.top_k, metavar="N", help="entries per image, or `all`"
    )
    parser.add_argument("--empty-images", choices=("drop", "count"), default=rules.empty_images)
    parser.add_argument("--recall-levels", choices=("float", "decimal", "area"), default=rules.recall_levels)
    parser.add_argument("--box-convention", choices=("pixel", "continuous"), default=rules.box_convention)


def run(options: argparse.Namespace) -> None:
    """Evaluates, prints the table and writes the files asked for.

    Raises:
        EvaluationFileError: an input cannot be used or an output cannot be written.
    """
    check_outputs(options.json, options.per_class, inputs=[options.predictions, options.ground_truth])
    rules = HICOProtocol(
        top_k=options.top_k,
        nms=options.nms,
        nms_threshold=options.nms_threshold,
        nms_alpha=options.nms_alpha,
        nms_beta=options.nms_beta,
        empty_images=options.empty_images,
        recall_levels=options.recall_levels,
        box_convention=options.box_convention,
    )
    labels = read_ground_truth(options.ground_truth)
    splits = {name: unseen_classes(labels, name) for name in options.split}
    note_normalised(options.ground_truth, largest_coordinate(labels.truth.boxes))
    with PredictionFile(options.predictions, labels) as predictions:
        note_compressed(options.predictions, predictions.compressed)
        result = evaluate(predictions, labels, rules)
        note_normalised(options.predictions, predictions.largest_coordinate)
        num_images, num_others = len(predictions), predictions.num_other_subjects
    if num_others:
        print(
            f"note: {options.predictions}: {num_others} pairs do not count, because the label of their subject "
            "is not 0 (person)",
            file=sys.stderr,
        )
    if result.num_ignored:
        assert result.first_ignored is not None
        print(
            f"note: {options.ground_truth}: {result.describe_ignored(len(labels.table))}; the first is in record "
            f"{result.first_ignored} (image {labels.image_ids[result.first_ignored]})",
            file=sys.stderr,
        )
    print(as_table(result, rules, labels.rare, splits, num_images=num_images))
    if options.json is not None:
        files = {"predictions": str(options.predictions), "ground_truth": str(options.ground_truth)}
        content: dict[str, Any] = {"dataset": "hico", **files, "images": num_images}
        content |= as_json(result, rules, labels.rare, splits, protocol=options.protocol)
        write(options.json, (json.dumps(content, indent=1) + "\n").encode())
    if options.per_class is not None:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **per_class_arrays(result))
        write(options.per_class, buffer.getvalue())


def read_ground_truth(path: Path) -> GroundTruthFile:
    """Labels from an .npz file, or through the readers of `rlipv2.datasets` from any other.

    Raises:
        EvaluationFileError: the file cannot be used.
    """
    if path.suffix == ".npz":
        return GroundTruthFile.from_npz(path)
    # These import torch, which takes longer than an evaluation that does not need them.
    from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
    from rlipv2.datasets.hico import read_annotations
    from rlipv2.vocabularies import load

    vocabulary = load("hico")
    try:
        records = read_annotations(path, "test")
    except (AnnotationError, DatasetNotFoundError) as error:
        raise EvaluationFileError(str(error)) from error
    return GroundTruthFile.from_records(path, records, vocabulary.hois, vocabulary.rare, vocabulary.unseen)


def unseen_classes(labels: GroundTruthFile, split: str) -> np.ndarray:
    """Mask of the classes of a zero-shot split: from the ground-truth file, else from the vocabulary.

    Raises:
        EvaluationFileError: the file does not list the split and has other classes than HICO-DET.
    """
    if split in labels.unseen:
        return labels.unseen[split]
    from rlipv2.vocabularies import load

    vocabulary = load("hico")
    if not np.array_equal(vocabulary.hois, labels.table.hois):
        raise EvaluationFileError(
            f"{labels.path}: no array 'unseen_{split}', and its classes are not those of HICO-DET; add the array"
        )
    return vocabulary.unseen[split]
