"""`python -m rlipv2 export --weights W --out model.onnx`: a weight folder as an ONNX file for a fixed label space."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlipv2.structures import LabelSpace

FINE, UNUSABLE = 0, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; exit status 2 if nothing could be written."""
    options = build_parser().parse_args(arguments)
    try:
        return export(options)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m rlipv2 export", description="Writes a detector as an ONNX file for a fixed label space."
    )
    parser.add_argument("--weights", required=True, help="weight folder, or a repository of the Hugging Face Hub")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.onnx", help="file to write")
    words = parser.add_argument_group("words (without any: those saved with the weights)")
    words.add_argument(
        "--objects", metavar="A,B,C", help="names of subjects and objects, or a .txt file with one a line"
    )
    words.add_argument("--relations", metavar="X,Y,Z", help="names of relations, or a .txt file")
    words.add_argument("--vocabulary", metavar="NAME", help="those of a data set: hico, vcoco, open_images")
    sizes = parser.add_argument_group("sizes (without any: images of every size, several at once)")
    sizes.add_argument("--dynamic", action="store_true", help="say so: any size (not with Swin backbones)")
    sizes.add_argument("--height", type=int, metavar="PIXELS", help="of all images")
    sizes.add_argument("--width", type=int, metavar="PIXELS", help="of all images")
    sizes.add_argument("--batch", type=int, metavar="N", help="images at once (with a fixed size: 1)")
    sizes.add_argument("--no-padding", action="store_true", help="leave out the input for the padding mask")
    settings = parser.add_argument_group("settings (without any: those saved with the weights)")
    settings.add_argument("--short-side", type=int, metavar="PIXELS", help="what images are scaled to")
    settings.add_argument("--max-size", type=int, metavar="PIXELS", help="limit of their long side")
    settings.add_argument("--mode", choices=("hoi", "scene_graph"), help="subjects are people, or anything")
    graph = parser.add_argument_group("the graph")
    graph.add_argument("--pixels", choices=("uint8", "float32"), default="uint8", help="type of the images (uint8)")
    graph.add_argument("--opset", type=int, default=18, help="version of the ONNX operators (18)")
    graph.add_argument(
        "--sampling",
        choices=("grid_sample", "take"),
        default="grid_sample",
        help="how deformable attention reads the image; take: for runtimes without a right GridSample (grid_sample)",
    )
    return parser


def export(options: argparse.Namespace) -> int:
    """Writes the file.

    Raises:
        ValueError: options that contradict each other; and as `export_onnx`.
    """
    size = _size(options)
    if options.vocabulary is not None and (options.objects or options.relations):
        raise ValueError("--vocabulary brings objects and relations; leave --objects and --relations out")
    if (options.objects is None) != (options.relations is None):
        raise ValueError("give both --objects and --relations")
    from rlipv2.export.writing import export_onnx  # imports torch: not needed to refuse options

    names = ("short_side", "max_size", "mode")
    changes = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    description = export_onnx(
        options.weights,
        options.out,
        _label_space(options),
        size=size,
        batch=options.batch,
        padded=not options.no_padding,
        pixels=options.pixels,
        opset=options.opset,
        sampling=options.sampling,
        **changes,
    )
    shape = "any size" if size is None else f"{size[0]} x {size[1]} (height x width)"
    batch = "any number of images" if description.batch is None else f"{description.batch} at once"
    print(f"{len(description.objects)} objects, {len(description.relations)} relations; images of {shape}, {batch}")
    print(f"wrote {options.out} ({options.out.stat().st_size / 2**20:.1f} MiB)")
    return FINE


def _size(options: argparse.Namespace) -> tuple[int, int] | None:
    if (options.height is None) != (options.width is None):
        raise ValueError("give both --height and --width")
    if options.height is None:
        return None
    if options.dynamic:
        raise ValueError("--dynamic is for images of any size; leave --height and --width out")
    return options.height, options.width


def _label_space(options: argparse.Namespace) -> "LabelSpace | str | None":
    if options.objects is None:
        return str(options.vocabulary) if options.vocabulary is not None else None
    from rlipv2.predict.cli import words
    from rlipv2.structures import LabelSpace

    return LabelSpace(objects=words(options.objects), relations=words(options.relations))


if __name__ == "__main__":
    sys.exit(main())
