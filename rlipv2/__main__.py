"""One front door: `python -m rlipv2 COMMAND ...` hands over to the command of that name.

Only the chosen command is imported: the list of commands appears at once.
"""

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

OK, UNUSABLE = 0, 2


@dataclass(frozen=True)
class Command:
    """A command: the module whose `main` runs it, what comes before the user's arguments, one line of help."""

    module: str
    help: str
    before: tuple[str, ...] = ()


COMMANDS = {
    "predict": Command("rlipv2.predict.cli", "relations in your images and videos: JSON lines, pictures, a gallery"),
    "demo": Command("rlipv2.demo.__main__", "the same in a web browser, with words that you type"),
    "convert": Command("rlipv2.checkpoints.__main__", "an official checkpoint to a weight folder", ("convert",)),
    "export": Command("rlipv2.export.__main__", "a weight folder to ONNX"),
    "check": Command("rlipv2.datasets.__main__", "everything that is wrong with a dataset folder", ("check",)),
    "datasets": Command("rlipv2.datasets.__main__", "check, convert and index datasets"),
    "metrics": Command("rlipv2.metrics.__main__", "score files of predictions by the official rules"),
    "parity": Command("rlipv2.parity.__main__", "compare with recorded numbers of the official code"),
    "dashboard": Command("rlipv2.dashboard.__main__", "a Weights & Biases dashboard from code"),
}
EXTRAS = {
    "av": "video",
    "gradio": "demo",
    "networkx": "graphs",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "supervision": "graphs",
    "tensorboard": "tensorboard",
    "wandb_workspaces": "dashboard",
}
"""The extra of pyproject.toml that brings an optional package."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status; 2 for an unknown command or a package that is not installed."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help", "help"):
        print(usage())
        return OK
    if name == "--version":
        from importlib.metadata import version

        print(f"rlipv2 {version('rlipv2')}")
        return OK
    if name not in COMMANDS:
        print(f"error: {unknown(name)}", file=sys.stderr)
        return UNUSABLE
    command = COMMANDS[name]
    try:
        status: int | None = import_module(command.module).main([*command.before, *rest])
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        hint = f"pip install -e '.[{EXTRAS[package]}]'"
        print(f"error: {name} needs the package {package}, which is not installed: {hint}", file=sys.stderr)
        return UNUSABLE
    return status or OK


def usage() -> str:
    """What `--help` prints."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m rlipv2 COMMAND ...",
            "",
            "Relation detection after RLIPv2.",
            "",
            *lines,
            "",
            "`python -m rlipv2 COMMAND --help` tells the options of a command. For training, evaluation and",
            "pseudo-labelling there are train.py, evaluate.py and pseudo_label.py in the repository.",
        ]
    )


def unknown(name: str) -> str:
    """What to say about a command that does not exist: the nearest that does, or all of them."""
    near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    todo = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(COMMANDS)}"
    return f"no command {name!r}; {todo}"


if __name__ == "__main__":
    sys.exit(main())
