"""`python -m rlipv2.parity CASE [CASE ...]`: prints every recorded entry beside its tolerance.

A case is a folder, or a JSON file with recorded cases of pseudo-labelling; of a folder of such files all are checked.

Exit status: 0 if every entry is inside its tolerance, 1 if one is not, 2 if a case cannot be used.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rlipv2.parity.entry import Entry


def check_folder(folder: Path) -> list[Entry]:
    """The entries of a case folder of any kind.

    Raises:
        FileNotFoundError: not a case folder, or one of its files is missing.
        ValueError: a case that this version cannot build.
    """
    # Imported here: `--help` and wrong paths answer without loading the networks.
    from rlipv2.parity.criterion import check_criterion
    from rlipv2.parity.model import check_model
    from rlipv2.parity.operators import check_operators

    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such file or folder")
    if (folder / "inputs.npz").exists():
        return check_model(folder)
    if not (folder / "meta.json").exists() and (folder / "state_dict_keys.json").exists():
        return check_operators(folder)
    if (folder / "meta.json").exists() and "cases" in json.loads((folder / "meta.json").read_text()):
        return check_criterion(folder)
    raise FileNotFoundError(
        f"{folder}: not a recorded case; expected inputs.npz and meta.json (model), meta.json with cases (criterion) "
        "or state_dict_keys.json and operator files (ops)"
    )


def check(case: Path, *, paraphrases: Sequence[Path] = ()) -> list[Entry]:
    """The entries of a case folder or file of any kind; `paraphrases` is for files, see `check_file`.

    Raises:
        FileNotFoundError: not there, or one of its files is missing.
        ValueError: a case that this version cannot build, or a file of no known kind.
    """
    if not case.is_file():
        return check_folder(case)
    from rlipv2.parity.pseudo_labels import check_file

    return check_file(case, paraphrases=paraphrases)


def cases_of(paths: Sequence[Path]) -> list[Path]:
    """The folders and files, and in place of a folder that holds nothing but JSON files of cases these files."""
    cases: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.json")) if path.is_dir() else []
        recorded = any(path.glob("*.npz")) or any(file.name in ("meta.json", "state_dict_keys.json") for file in inside)
        cases += inside if inside and not recorded else [path]
    return cases


def main(argv: Sequence[str] | None = None) -> int:
    """Checks the cases and prints a line per entry."""
    parser = argparse.ArgumentParser(prog="python -m rlipv2.parity", description=__doc__.split("\n\n")[0])
    parser.add_argument("cases", nargs="+", type=Path, metavar="CASE", help="folder, or JSON file of pseudo-labelling")
    parser.add_argument(
        "--paraphrases",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="official table {class: [phrase, ...]} to use instead of the built-in words; one for each dataset",
    )
    parser.add_argument("--quiet", action="store_true", help="print only what fails, and the summary")
    args = parser.parse_args(argv)
    entries: list[Entry] = []
    broken = False
    for case in cases_of(args.cases):
        try:
            found = check(case, paraphrases=args.paraphrases)
        except (FileNotFoundError, ValueError, KeyError) as error:
            print(f"ERROR {case}: {error}", file=sys.stderr)
            broken = True
            continue
        for entry in found:
            if not (args.quiet and entry.passed):
                print(_line(entry))
        entries += found
    failed = sum(not entry.passed for entry in entries)
    skipped = sum(entry.skipped for entry in entries)
    print(f"{len(entries) - failed - skipped} entries inside, {failed} outside their tolerance, {skipped} skipped")
    return 2 if broken else int(failed > 0)


def _line(entry: Entry) -> str:
    if entry.skipped:
        return f"skip {entry.case}: {entry.name}"
    verdict = "ok  " if entry.passed else "FAIL"
    return (
        f"{verdict} {entry.case}: {entry.name}  abs {entry.max_abs:.3g}  rel {entry.max_rel:.3g}  "
        f"tolerance {entry.tolerance}"
    )


if __name__ == "__main__":
    sys.exit(main())
