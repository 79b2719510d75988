"""`python -m rlipv2.checkpoints convert official.pth OUT_DIR`: an official checkpoint as a weight folder.

RLIPv2-ParSeDA, -ParSeD and the Relation Tagger with ResNet-50, Swin-T or Swin-L become whole weight folders; object
detectors (DAB-Deformable-DETR, Deformable-DETR) and Swin backbones folders with initial weights for `model.init`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rlipv2.checkpoints.official import convert_file
from rlipv2.structures import LabelSpace
from rlipv2.vocabularies import named_label_space


def label_space_of(name: str | None) -> LabelSpace | None:
    """The label space of a vocabulary name or of a JSON file with `objects` and `relations`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such vocabulary, or a file of another content.
    """
    if name is None:
        return None
    if Path(name).suffix != ".json":
        return named_label_space(name)
    try:
        content = json.loads(Path(name).read_text())
        return LabelSpace(objects=content["objects"], relations=content["relations"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{name}: expected JSON with the lists 'objects' and 'relations' ({error!r})") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Converts one file and prints what became of its keys; exit status 2 if it cannot be converted without loss."""
    parser = argparse.ArgumentParser(prog="python -m rlipv2.checkpoints", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    convert = commands.add_parser("convert", help="official .pth to a weight folder")
    convert.add_argument("checkpoint", type=Path, help="official .pth")
    convert.add_argument("folder", type=Path, metavar="OUT_DIR", help="weight folder to write")
    convert.add_argument(
        "--family",
        choices=("auto", "relation", "detection", "backbone"),
        default="auto",
        help="what the file is: a RLIPv2 checkpoint, an object detector or a Swin classifier to start from; "
        "auto tells them apart by their tensors",
    )
    convert.add_argument(
        "--label-space",
        metavar="NAME|FILE.json",
        help="words to store with the weights: a vocabulary (hico, vcoco, open_images) or a JSON file with objects and "
        "relations; any others can be asked for at run time",
    )
    args = parser.parse_args(argv)
    try:
        report = convert_file(args.checkpoint, args.folder, label_space_of(args.label_space), family=args.family)
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report)
    print(f"wrote {args.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
