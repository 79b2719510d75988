"""Peak memory of pseudo-labelling by the number of images.

    python benchmarks/pseudo_label_memory.py --images 1000 20000

Writes boxes in COCO's format and captions of that many images, and runs the stages of `pseudo_label.py` that need no
network (captions of a file, parse, candidates, merge, validate, report with a truth) through the command, each in a
process of its own. The tagger's place takes random scores of every candidate, written unit by unit. Peak is
`ru_maxrss`, which counts every page.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir

from rlipv2.labelling import Run
from rlipv2.pseudo_labels.plan import join_plan, read_plan
from rlipv2.pseudo_labels.records import Tags
from rlipv2.pseudo_labels.units import UnitResult

CLASSES = ("person", "horse", "dog", "kite", "chair", "bottle")
RELATIONS = ("riding", "next to", "on", "holding", "behind", "walking with")
STAGES = ("caption", "parse", "candidates", "merge", "validate", "report")


def write_inputs(root: Path, images: int, boxes: int, captions: int) -> None:
    """Boxes, captions and truth of generated images; there are no pictures, which only networks would read."""
    random = np.random.default_rng(0)
    (root / "pictures").mkdir(parents=True)
    records, annotations = [], []
    texts = json.dumps({relation: [relation] for relation in RELATIONS})
    with (root / "captions.json").open("w") as file, (root / "truth.json").open("w") as truth:
        truth.write(f'{{"texts": {texts}, "images": [')
        for image in range(1, images + 1):
            records.append({"id": image, "file_name": f"{image}.jpg", "height": 480, "width": 640})
            for x, y, category in random.integers((400, 300, len(CLASSES)), size=(boxes, 3)).tolist():
                annotations.append({"image_id": image, "category_id": category, "bbox": [x, y, 120.5, 90.25]})
            words = random.integers((len(CLASSES), len(RELATIONS), len(CLASSES)), size=(captions, 3)).tolist()
            said = [f"a {CLASSES[s]} {RELATIONS[r]} a {CLASSES[o]}" for s, r, o in words]
            file.write(f"{',' if image > 1 else '{'}{json.dumps(str(image))}: {json.dumps(said)}")
            true = [[0, 1, RELATIONS[image % len(RELATIONS)]]]
            row = {"image_id": image, "names": [""] * boxes, "relations": true, "implied": []}
            truth.write(f"{',' if image > 1 else ''}{json.dumps(row)}")
        file.write("}")
        truth.write("]}")
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES)]
    content = {"images": records, "annotations": annotations, "categories": categories}
    (root / "boxes.json").write_text(json.dumps(content))


def run(root: Path, stage: str, unit_size: int) -> None:
    """One stage of the command."""
    overrides = [
        f"source.annotations={root / 'boxes.json'}",
        f"source.images={root / 'pictures'}",
        f"captions={root / 'captions.json'}",
        f"out={root / 'out'}",
        f"report.truth={root / 'truth.json'}",
        f"unit_size={unit_size}",
        f"stages=[{stage}]",
        *("pseudo_label=custom", "parser=rules", "trainer=cpu", "paths.output=unused"),
    ]
    with initialize_config_dir(str(Path(__file__).resolve().parents[1] / "conf"), version_base="1.3"):
        config = compose("pseudo_label", overrides=overrides)
    Run(config)()


def write_scores(root: Path) -> None:
    """Random scores of every candidate in the place of the tagger's."""
    random, old = np.random.default_rng(0), read_plan(root / "out")
    plan = join_plan(root / "out", old.data, {"tag": {"scores": "random"}})
    for unit in range(plan.num_units):
        rows = []
        for row in plan.folder("candidates").rows(unit):
            found = [(pair, text) for pairs, texts in row["groups"] for pair in pairs for text in texts]
            pairs = np.array([pair for pair, _ in found], np.int64).reshape(-1, 2)
            scores = random.random(len(found), np.float32)
            rows.append((row["image_id"], Tags(pairs, tuple(text for _, text in found), scores)))
        plan.folder("tag").write(unit, UnitResult(rows), images=len(plan.images_of(unit)))


def measured(function: Any, *arguments: Any) -> tuple[float, float]:
    """Peak memory in MB and seconds of a call in a new process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, function, *arguments))
    process.start()
    sender.close()
    result: tuple[float, float] = receiver.recv()
    process.join()
    return result


def _measure(sender: Any, function: Any, *arguments: Any) -> None:
    started = time.perf_counter()
    function(*arguments)
    sender.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.perf_counter() - started))


def main() -> None:
    """Prints a table, or writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 20000])
    parser.add_argument("--boxes", type=int, default=7, help="of an image")
    parser.add_argument("--captions", type=int, default=10, help="of an image")
    parser.add_argument("--unit-size", type=int, default=1024)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    figures: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{'images':>8} " + " ".join(f"{stage:>20}" for stage in STAGES))
    for images in options.images:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            # in processes of their own, too: the peak of a process is at least what its parent had when it started
            measured(write_inputs, root, images, options.boxes, options.captions)
            found = figures[str(images)] = {}
            for stage in STAGES:
                if stage == "merge":
                    measured(write_scores, root)
                peak, seconds = measured(run, root, stage, options.unit_size)
                found[stage] = {"peak_mb": peak, "seconds": seconds}
        told = [f"{found[stage]['peak_mb']:,.0f} MB {found[stage]['seconds']:,.0f} s" for stage in STAGES]
        print(f"{images:>8,} " + " ".join(f"{text:>20}" for text in told), flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
