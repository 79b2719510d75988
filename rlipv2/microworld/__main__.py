"""Command: `python -m rlipv2.microworld hico OUT` writes the world as HICO-DET, `... stats OUT` shows what is in it."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from rlipv2.metrics.hico.metric import HICODetMAP
from rlipv2.microworld.baselines import ground_truth, nearest_pair, read_annotations, relation_counts
from rlipv2.microworld.captions import CaptionOptions, rewrite_captions
from rlipv2.microworld.coco import write_coco, write_objects365
from rlipv2.microworld.custom import write_custom
from rlipv2.microworld.hico import write_hico
from rlipv2.microworld.open_images import write_open_images
from rlipv2.microworld.scene_graphs import write_scene_graphs
from rlipv2.microworld.splits import RARE_BELOW
from rlipv2.microworld.statistics import count_interactions, counts_table, plot_long_tail, report
from rlipv2.microworld.storage import read_settings
from rlipv2.microworld.vcoco import write_vcoco
from rlipv2.visualize import annotation_triplets, draw_triplets, image_grid
from rlipv2.vocabularies import load

WRITERS = {
    "hico": (write_hico, "HICO-DET"),
    "vcoco": (write_vcoco, "V-COCO"),
    "open_images": (write_open_images, "Open Images v6, scene graphs"),
    "coco": (write_coco, "COCO 2017, detection"),
    "objects365": (write_objects365, "Objects365 v2, detection"),
    "vg": (write_scene_graphs, "Visual Genome, scene graphs"),
    "custom": (write_custom, "a user's own data"),
}


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m rlipv2.microworld", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, described) in WRITERS.items():
        writer = commands.add_parser(name, help=f"write the world as {described}")
        writer.add_argument("out", type=Path, help="folder that a reader of this layout is given")
        writer.add_argument("--seed", type=int, default=0)
        writer.add_argument("--num-train", "--train", type=int, default=2000, help="training images")
        writer.add_argument("--num-test", "--test", type=int, default=300, help="test images")
        writer.add_argument(
            "--size", type=int, nargs=2, default=(160, 320), metavar=("MIN", "MAX"), help="short side, pixels"
        )
        writer.add_argument("--workers", type=int, default=2)
    stats = commands.add_parser("stats", help="counts; of HICO-DET also long tail, pictures, baselines and upper bound")
    stats.add_argument("out", type=Path, help="folder written by one of the other commands")
    stats.add_argument("--to", type=Path, help="folder of the pictures; default: OUT/statistics")
    captions = commands.add_parser("captions", help="write the captions of a detection layout anew")
    captions.add_argument("out", type=Path, help="folder written by `coco` or `objects365`")
    captions.add_argument("--to", type=Path, help="captions file; default: that of the folder")
    captions.add_argument("--per-image", type=int, default=CaptionOptions.per_image)
    captions.add_argument(
        "--error-rate", type=float, default=CaptionOptions.error_rate, help="share of the captions with an error"
    )
    arguments = parser.parse_args()
    if arguments.command == "captions":
        try:
            options = CaptionOptions(per_image=arguments.per_image, error_rate=arguments.error_rate)
            print(rewrite_captions(arguments.out, arguments.to, options))
        except (FileNotFoundError, ValueError) as error:
            sys.exit(str(error))
        return
    if arguments.command == "stats":
        statistics(arguments.out, arguments.to or arguments.out / "statistics")
        return
    write, _ = WRITERS[arguments.command]
    names = ("seed", "num_train", "num_test", "workers")
    size = (arguments.size[0], arguments.size[1])
    print(write(arguments.out, size=size, **{name: getattr(arguments, name) for name in names}))


def statistics(root: Path, folder: Path) -> None:
    """Prints the counts of a world; of HICO-DET also baselines and bound, with two pictures written to `folder`."""
    content = read_settings(root)
    if content is None:
        sys.exit(f"{root}: no micro-world there; write one with `python -m rlipv2.microworld hico {root}`")
    if content["settings"].get("layout") != "hico":
        print(counts_table(content))
        return
    print(report(root))
    print("\ntest mAP with labelled boxes and classes (full, rare, non-rare):")
    for name, values in bounds(root).items():
        print(f"  {name:<46}" + "".join(f"{value:8.3f}" for value in values))
    print(plot_long_tail(count_interactions(root), folder / "long_tail.png"))
    print(relation_sheet(root, folder / "relations.png"))


def bounds(root: Path) -> dict[str, tuple[float, float, float]]:
    """Full, rare and non-rare mAP of the baselines and of the labels themselves; rare as counted in this world."""
    vocabulary = load("hico")
    counts = relation_counts(read_annotations(root, "train"), vocabulary)
    test = read_annotations(root, "test")
    result = {}
    for name, predictions in {
        "nearest pair, most frequent relation": nearest_pair(test, counts),
        "the same without no_interaction": nearest_pair(test, counts, with_no_interaction=False),
        "labels as predictions (upper bound)": ground_truth(test),
    }.items():
        metric = HICODetMAP(hois=vocabulary.hois, rare=counts[tuple(vocabulary.hois.T)] < RARE_BELOW)
        metric.update(predictions, test)
        figures = metric.compute()
        result[name] = (float(figures["map_full"]), float(figures["map_rare"]), float(figures["map_non_rare"]))
    return result


def relation_sheet(root: Path, path: Path) -> Path:
    """Writes a sheet with one example of every interaction in the test split, its boxes drawn."""
    vocabulary = load("hico")
    # The emptiest image shows an interaction best.
    annotations = sorted(read_annotations(root, "test"), key=lambda annotation: len(annotation.labels))
    pictures, captions = [], []
    for count in count_interactions(root):
        verb, name = vocabulary.hois[count.id - 1]
        for annotation in annotations:
            relations = annotation.relations
            wanted = (relations[:, 2] == verb) & (annotation.labels[relations[:, 1]] == name)
            if wanted.any():
                labelled = annotation_triplets(replace(annotation, relations=relations[wanted]), vocabulary.label_space)
                file = root / "images" / "test2015" / annotation.file_name
                pictures.append(draw_triplets(file, labelled, long_side=300, show_scores=False))
                captions.append(f"{count.verb} {count.object}  {count.train}/{count.test}")
                break
    return image_grid(pictures, captions, path, title="One example of every interaction, with train/test counts")


if __name__ == "__main__":
    main()
