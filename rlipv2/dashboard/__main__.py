"""Creates the W&B workspace and report of a benchmark.

python -m rlipv2 dashboard --entity me --project rlipv2 --kind hico
python -m rlipv2 dashboard --entity me --project rlipv2 --kind hico --dry-run hico.json
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rlipv2.dashboard.build import report, specification, workspace
from rlipv2.dashboard.panels import KINDS, dashboard
from rlipv2.ops.files import write_atomically

OK, UNUSABLE = 0, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit status is 2 where it could not run."""
    options = build_parser().parse_args(arguments)
    board = dashboard(options.kind)
    place = {"entity": options.entity, "project": options.project}
    try:
        if options.dry_run is not None:
            text = json.dumps(specification(board, **place), indent=1) + "\n"
            if options.dry_run == "-":
                print(text, end="")
            else:
                write_atomically(Path(options.dry_run), text)
                print(f"specification: {options.dry_run}")
            return OK
        for part in [] if options.report_only else [workspace(board, **place)]:
            part.save()
            print(f"workspace: {part.url}")
        for part in [] if options.workspace_only else [report(board, **place)]:
            part.save(draft=options.draft)
            print(f"report: {part.url}")
    except ModuleNotFoundError:
        raise  # the front door names the extra
    except Exception as error:
        if "RLIPV2_TRACEBACK" in os.environ:
            raise
        print(
            f"error: {type(error).__name__}: {error}\nW&B must be reachable and know you (`wandb login`), and the "
            f"project {options.entity}/{options.project} must exist; --dry-run FILE writes what would be sent, without "
            "a network",
            file=sys.stderr,
        )
        return UNUSABLE
    return OK


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m rlipv2 dashboard", description="Creates the W&B workspace and report of a benchmark."
    )
    parser.add_argument("--entity", required=True, help="user or team on W&B")
    parser.add_argument(
        "--project", default="rlipv2", help="project of the runs, as logger.wandb.project (%(default)s)"
    )
    parser.add_argument("--kind", required=True, choices=KINDS, help="what the runs train")
    parser.add_argument(
        "--dry-run", nargs="?", const="-", metavar="FILE", help="write the specification as JSON instead"
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--workspace-only", action="store_true", help="no report")
    only.add_argument("--report-only", action="store_true", help="no workspace")
    parser.add_argument("--draft", action="store_true", help="save the report as a draft")
    return parser


if __name__ == "__main__":
    sys.exit(main())
