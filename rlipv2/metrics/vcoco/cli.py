"""`python -m rlipv2.metrics vcoco`: V-COCO figures of a prediction file."""

import argparse
import io
import json
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from rlipv2.metrics.checks import largest_coordinate
from rlipv2.metrics.command import check_outputs, note_normalised, number_or_all, write
from rlipv2.metrics.files import EvaluationFileError
from rlipv2.metrics.vcoco.files import Labels, PredictionFile, evaluate, read_arrays
from rlipv2.metrics.vcoco.pairs import validity_matrix
from rlipv2.metrics.vcoco.protocol import VCOCOProtocol
from rlipv2.metrics.vcoco.report import PROTOCOLS, as_json, as_table, per_class_arrays
from rlipv2.metrics.vcoco.tables import CATEGORY_IDS, VCOCO_ACTIONS, VCOCO_VERBS, VerbTable
from rlipv2.metrics.vcoco.truth import VCOCOGroundTruth


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    vcoco = commands.add_parser(
        "vcoco",
        help="V-COCO role and agent average precision",
        description="V-COCO: official role AP in both scenarios, agent AP, and the mAP of the official training log. "
        "File layouts: rlipv2/metrics/vcoco/files.py and arrays.py.",
    )
    vcoco.set_defaults(run=run)
    vcoco.add_argument("--predictions", type=Path, required=True, metavar="FILE.npz")
    vcoco.add_argument(
        "--ground-truth",
        type=Path,
        required=True,
        metavar="PATH",
        help=".npz, or the folder of the dataset (test split)",
    )
    vcoco.add_argument("--json", type=Path, metavar="OUT", help="where to write the figures")
    vcoco.add_argument("--per-class", type=Path, metavar="OUT.npz", help="where to write the arrays over the actions")
    vcoco.add_argument(
        "--protocol",
        choices=tuple(PROTOCOLS),
        action="append",
        help="what to report; repeatable, by default everything: "
        + "; ".join(f"{name}: {text}" for name, text in PROTOCOLS.items()),
    )
    vcoco.add_argument(
        "--validity",
        default="none",
        metavar="none|trainval|dataset|FILE.npy",
        help="mask of (verb, object): none (scores as they are), the pairs that occur in trainval, that of the dataset "
        "folder, or a file such as the official corre_vcoco.npy (default: none)",
    )
    add_rules(vcoco)


def add_rules(parser: argparse.ArgumentParser) -> None:
    """The fields of `VCOCOProtocol` as options."""
    rules = VCOCOProtocol()
    for name, choices in rules.CHOICES.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", choices=choices, default=getattr(rules, name), help="default: %(default)s"
        )
    parser.add_argument("--match-threshold", type=float, default=rules.match_threshold, metavar="X")
    parser.add_argument(
        "--top-k", type=number_or_all, default=rules.top_k, metavar="N", help="in-training entries per image, or `all`"
    )


def run(options: argparse.Namespace) -> None:
    """Evaluates, prints the table and writes the files asked for.

    Raises:
        EvaluationFileError: an input cannot be used or an output cannot be written.
    """
    inputs = [options.predictions, options.ground_truth, Path(options.validity)]
    check_outputs(options.json, options.per_class, inputs=inputs)
    try:
        rules = VCOCOProtocol(**{field.name: getattr(options, field.name) for field in fields(VCOCOProtocol)})
    except ValueError as error:
        raise EvaluationFileError(f"--{str(error).replace('_', '-')}") from error
    protocols = tuple(dict.fromkeys(options.protocol or PROTOCOLS))
    labels = read_labels(options.ground_truth, options.validity, rules)
    note_normalised(options.ground_truth, largest_coordinate(labels.truth.pairs.boxes))
    with PredictionFile(options.predictions, labels) as predictions:
        if predictions.compressed:
            names = ", ".join(predictions.compressed)
            print(
                f"note: {options.predictions}: {names}: compressed, cannot be memory-mapped; unpacked while reading "
                "(slower, numpy.savez stores uncompressed)",
                file=sys.stderr,
            )
        result = evaluate(predictions, rules)
        note_normalised(options.predictions, predictions.largest_coordinate)
    print(as_table(result, rules, protocols))
    if options.json is not None:
        content: dict[str, Any] = {
            "dataset": "vcoco",
            "predictions": str(options.predictions),
            "ground_truth": str(options.ground_truth),
            "images": result.num_images,
            "validity": options.validity,
            **as_json(result, rules, protocols),
        }
        write(options.json, (json.dumps(content, indent=1) + "\n").encode())
    if options.per_class is not None:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **per_class_arrays(result))
        write(options.per_class, buffer.getvalue())


def read_labels(path: Path, validity: str, rules: VCOCOProtocol) -> Labels:
    """Labels from an .npz file, or through the readers of `rlipv2.datasets` from a folder.

    Raises:
        EvaluationFileError: the file or folder cannot be used.
    """
    arguments: dict[str, Any] = {"ground_truth": read_arrays(path)} if path.suffix == ".npz" else read_folder(path)
    table = VerbTable.create(arguments.get("actions", VCOCO_ACTIONS), arguments.get("verbs", VCOCO_VERBS))
    category_ids = arguments.get("category_ids", CATEGORY_IDS)
    truth = VCOCOGroundTruth.create(
        arguments["ground_truth"],
        table,
        category_ids=category_ids,
        box_convention=rules.box_convention,
        source=path,
    )
    num_objects = len(category_ids) + 1
    try:
        mask = validity_matrix(read_validity(validity, arguments), len(table.verbs), num_objects)
    except ValueError as error:
        raise EvaluationFileError(f"{validity}: {error}") from error
    return Labels(path, truth, table, num_objects, mask)


def read_folder(path: Path) -> dict[str, Any]:
    """Constructor arguments of the metric for the test split of a V-COCO folder.

    Raises:
        EvaluationFileError: the folder cannot be used.
    """
    # These import torch, which takes longer than an evaluation that does not need them.
    from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
    from rlipv2.datasets.vcoco import read_metric_arguments

    try:
        return read_metric_arguments(path, "test")
    except (AnnotationError, DatasetNotFoundError) as error:
        raise EvaluationFileError(str(error)) from error


def read_validity(source: str, arguments: Mapping[str, Any]) -> np.ndarray | None:
    """The mask that `--validity` names; `arguments` are those of the metric.

    Raises:
        EvaluationFileError: the file cannot be read, or there is no dataset folder.
    """
    if source == "dataset":
        if "validity" not in arguments:
            raise EvaluationFileError("--validity dataset: needs the folder of V-COCO as --ground-truth")
        return arguments["validity"]
    if source == "none":
        return None
    if source == "trainval":
        from rlipv2.vocabularies import load

        return load("vcoco").valid_pairs
    try:
        return np.load(source, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise EvaluationFileError(
            f"{source}: cannot be read as array ({error}); give none, trainval, dataset or an .npy of verbs x objects"
        ) from error
