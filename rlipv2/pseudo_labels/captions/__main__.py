"""`python -m rlipv2.pseudo_labels.captions convert FILE.pth OUT_DIR`: a checkpoint of the BLIP repository as a folder.

The folder is what `captioner.name` of pseudo_label.py takes.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rlipv2.pseudo_labels.captions.original import convert


def main(argv: Sequence[str] | None = None) -> int:
    """Converts one file; exit status 2 if it cannot be converted without loss."""
    parser = argparse.ArgumentParser(prog="python -m rlipv2.pseudo_labels.captions", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("convert", help="a .pth of the BLIP repository to a folder of transformers")
    command.add_argument("checkpoint", type=Path, help="model_large_caption.pth, model_large.pth, ...")
    command.add_argument("folder", type=Path, metavar="OUT_DIR", help="folder to write; must not exist")
    command.add_argument("--tokenizer", default="bert-base-uncased", help="BERT's, by name or folder")
    args = parser.parse_args(argv)
    try:
        print(convert(args.checkpoint, args.folder, tokenizer=args.tokenizer))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
