"""`python -m rlipv2.metrics coco`: COCO figures of a results file."""

import argparse
import json
import sys
from pathlib import Path

from rlipv2.metrics.coco.files import read_results, without_unknown_classes
from rlipv2.metrics.coco.protocol import BACKENDS, Backend, BoxTruth, evaluate
from rlipv2.metrics.coco.report import as_json, as_table, versions
from rlipv2.metrics.command import check_outputs, write
from rlipv2.metrics.files import EvaluationFileError


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    coco = commands.add_parser(
        "coco",
        help="COCO average precision of boxes",
        description="The 12 figures of COCO's own evaluation, with default parameters, for any annotations in the COCO "
        "format.",
    )
    coco.set_defaults(run=run)
    coco.add_argument("--predictions", type=Path, required=True, metavar="results.json")
    coco.add_argument("--ground-truth", type=Path, required=True, metavar="instances.json")
    coco.add_argument(
        "--backend",
        choices=(*BACKENDS, "both"),
        default=BACKENDS[0],
        help="who computes the figures: faster-coco-eval, or pycocotools, the reference",
    )
    coco.add_argument("--json", type=Path, metavar="OUT", help="where to write the figures, with AP per class")


def run(options: argparse.Namespace) -> None:
    """Evaluates, prints the table and writes the file asked for.

    Raises:
        EvaluationFileError: an input cannot be used or an output cannot be written.
    """
    check_outputs(options.json, inputs=[options.predictions, options.ground_truth])
    truth, names = read_ground_truth(options.ground_truth)
    detections = read_results(options.predictions, truth.image_ids)
    detections, known = without_unknown_classes(detections, list(names))
    if not known.all():
        print(
            f"note: {options.predictions}: {(~known).sum()} detections do not count, because their category_id is "
            f"none of {options.ground_truth}; the first is record {int(known.argmin())}",
            file=sys.stderr,
        )
    backends: tuple[Backend, ...] = BACKENDS if options.backend == "both" else (options.backend,)
    per_class = options.json is not None
    results = {backend: evaluate(truth, detections, backend=backend, per_class=per_class) for backend in backends}
    counts = {
        "images": len(truth),
        "boxes": int((~truth.crowd).sum()),
        "crowds": int(truth.crowd.sum()),
        "detections": len(detections),
    }
    print(as_table(results, **counts))
    if options.json is not None:
        files = {"predictions": str(options.predictions), "ground_truth": str(options.ground_truth)}
        content = {"dataset": "coco", **files, **counts, "versions": versions(), **as_json(results, names)}
        write(options.json, (json.dumps(content, indent=1) + "\n").encode())


def read_ground_truth(path: Path) -> tuple[BoxTruth, dict[int, str]]:
    """Labels of an instances file, and the names of its classes by id.

    Raises:
        EvaluationFileError: the file cannot be used.
    """
    # These import torch, which takes seconds that the help does not need.
    from rlipv2.datasets.detection import read_any_instances
    from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError

    try:
        records, vocabulary = read_any_instances(path)
    except (AnnotationError, DatasetNotFoundError) as error:
        raise EvaluationFileError(str(error)) from error
    truth = BoxTruth(
        image_ids=records.image_ids,
        boxes=records.boxes,
        category_ids=vocabulary.category_ids[records.labels],
        areas=records.areas,
        crowd=records.crowd,
        box_ptr=records.box_ptr,
    )
    return truth, dict(zip(vocabulary.category_ids.tolist(), vocabulary.names, strict=True))
