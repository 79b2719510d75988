"""`python -m rlipv2 predict IMAGE|FOLDER|VIDEO|PATTERN ... --weights W --out DIR`: relations in your own pictures.

Leaves JSON lines, drawn pictures and a gallery in DIR. Killed and started again with the same options it goes on.
"""

import argparse
import dataclasses
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlipv2.predict.inputs import InputError, Inputs, find_inputs

if TYPE_CHECKING:
    from torch import Tensor

    from rlipv2.predict.predictor import RelationPredictor
    from rlipv2.predict.results import Results
    from rlipv2.predict.run import Counts
    from rlipv2.structures import LabelSpace, Triplets

FINE, SOME_FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
SHOWN_ERRORS, SHOWN_TRIPLETS = 10, 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; exit status 0: all fine, 1: some files failed, 2: it could not run, 130: interrupted."""
    options = build_parser().parse_args(arguments)
    try:
        inputs = find_inputs(options.inputs, recursive=options.recursive, skip=options.out)
        return predict(options, inputs)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on where this one stopped", file=sys.stderr)
        return INTERRUPTED
    except (InputError, ValueError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
    except (FileExistsError, NotADirectoryError) as error:
        print(f"error: {error.filename}: is a file; --out needs a folder", file=sys.stderr)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":
            raise
        print(f"error: {error}\nuse a smaller --batch-size; the same command then goes on", file=sys.stderr)
    return UNUSABLE


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m rlipv2 predict",
        description="Finds relations in images and videos: JSON lines, drawn pictures, a gallery.",
        epilog="exit status: 0 all fine, 1 some files failed (errors.jsonl names them), 2 it could not run",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="images, videos, folders of them, or quoted patterns such as 'a/**/*.jpg'",
    )
    parser.add_argument("--weights", required=True, help="weight folder, or a repository of the Hugging Face Hub")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the results")
    parser.add_argument("--recursive", action="store_true", help="look into the folders of folders")
    parser.add_argument("--overwrite", action="store_true", help="remove results of an earlier run in DIR")
    words = parser.add_argument_group("words (without any: those saved with the weights)")
    words.add_argument(
        "--objects", metavar="A,B,C", help="names of subjects and objects, or a .txt file with one a line"
    )
    words.add_argument("--relations", metavar="X,Y,Z", help="names of relations, or a .txt file with one a line")
    words.add_argument("--vocabulary", metavar="NAME", help="those of a data set: hico, vcoco, open_images")
    words.add_argument(
        "--mode",
        choices=("hoi", "scene_graph"),
        help="hoi: subjects are persons; scene_graph: anything (that of the weights)",
    )
    what = parser.add_argument_group("what is kept")
    what.add_argument("--top", type=_positive, default=100, metavar="N", help="triplets per image (100)")
    what.add_argument("--min-score", type=_share, default=0.0, metavar="S", help="least score of a triplet, 0 to 1 (0)")
    pictures = parser.add_argument_group("pictures")
    pictures.add_argument(
        "--draw-top", type=_positive, default=10, metavar="N", help="triplets that drawings show (10)"
    )
    pictures.add_argument("--no-draw", action="store_true", help="no drawn pictures and videos")
    pictures.add_argument("--graphs", action="store_true", help="scene graphs too: nodes and edges")
    pictures.add_argument("--no-gallery", action="store_true", help="no gallery")
    video = parser.add_argument_group("videos")
    rate = video.add_mutually_exclusive_group()
    rate.add_argument("--every", type=_positive, default=1, metavar="N", help="look at every Nth frame (1)")
    rate.add_argument("--fps", type=_rate, metavar="F", help="look at so many frames per second instead")
    speed = parser.add_argument_group("speed")
    speed.add_argument("--batch-size", type=_positive, default=8, metavar="N", help="images at once (8)")
    speed.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps (the best there is)")
    speed.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="(float32)")
    speed.add_argument("--workers", type=_positive, default=2, metavar="N", help="threads that decode and draw (2)")
    speed.add_argument(
        "--short-side", type=_positive, metavar="N", help="pixels that images are scaled to (those of the weights)"
    )
    speed.add_argument("--max-size", type=_positive, metavar="N", help="most pixels of the long side (the same)")
    return parser


def predict(options: argparse.Namespace, inputs: Inputs) -> int:
    """Predicts on all inputs; returns the exit status.

    Raises:
        ValueError: words, weights or the folder of results cannot be used.
        OSError: results cannot be written.
    """
    if inputs.videos:
        import av  # noqa: F401 - missing it should be known before the weights are loaded
    from rlipv2.checkpoints import download_weights
    from rlipv2.predict.predictor import RelationPredictor
    from rlipv2.predict.results import Results

    if inputs.left_out:
        print(f"{inputs.left_out} files of other kinds are left out", file=sys.stderr)
    weights = download_weights(options.weights)
    predictor = RelationPredictor.from_pretrained(
        weights,
        device=options.device,
        precision=options.precision,
        short_side=options.short_side,
        max_size=options.max_size,
        mode=options.mode,
    )
    label_space = words_of(options, predictor)
    predictor.check_words(label_space)
    settings = settings_of(options, inputs, weights, predictor, label_space)
    with Results(options.out, settings, overwrite=options.overwrite) as results, _progress(inputs, options) as advance:
        counts = _run(options, inputs, predictor, label_space, results=results, advance=advance)
        summary = {"device": str(predictor.device), "batch_size": options.batch_size, "weights": options.weights}
        results.finish({**counts.to_dict(), **summary})
    return _summary(options, inputs, counts)


def _run(
    options: argparse.Namespace,
    inputs: Inputs,
    predictor: "RelationPredictor",
    label_space: "LabelSpace",
    *,
    results: "Results",
    advance: Callable[[int], None],
) -> "Counts":
    from rlipv2.predict.pictures import Pictures
    from rlipv2.predict.run import Runner

    def find(images: list["Tensor"]) -> list["Triplets"]:
        return predictor(
            images, label_space, top=options.top, min_score=options.min_score, batch_size=options.batch_size
        )

    pictures = Pictures(
        options.out,
        draw=not options.no_draw,
        draw_top=options.draw_top,
        graphs=options.graphs,
        gallery=not options.no_gallery,
    )
    runner = Runner(
        find,
        results,
        pictures,
        batch_size=options.batch_size,
        every=options.every,
        fps=options.fps,
        workers=options.workers,
        advance=advance,
    )
    return runner.run(inputs.sources)


def words_of(options: argparse.Namespace, predictor: "RelationPredictor") -> "LabelSpace":
    """The words to ask for: a vocabulary's, those that were typed, or those saved with the weights.

    Raises:
        ValueError: both a vocabulary and words, or words of one kind only where the weights have none saved.
    """
    from rlipv2.structures import LabelSpace

    typed = options.objects is not None or options.relations is not None
    if options.vocabulary and typed:
        raise ValueError("--vocabulary brings objects and relations; leave out --objects and --relations, or it")
    if not typed:
        return predictor.resolve(options.vocabulary)
    saved = predictor.label_space
    if saved is None and (options.objects is None or options.relations is None):
        raise ValueError("give both --objects and --relations: no words are saved with these weights")
    objects = words(options.objects) if options.objects is not None else saved.objects if saved else ()
    relations = words(options.relations) if options.relations is not None else saved.relations if saved else ()
    return predictor.resolve(LabelSpace(objects=objects, relations=relations))


def words(text: str) -> tuple[str, ...]:
    """The words in "a, b,c", or in the lines of a `.txt` file.

    Raises:
        ValueError: a blank word, or none.
        OSError: no such file.
    """
    if text.endswith(".txt"):
        found = tuple(line.strip() for line in Path(text).read_text(encoding="utf-8").splitlines() if line.strip())
    else:
        found = tuple(word.strip() for word in text.split(","))
    if not found or not all(found):
        raise ValueError(f"{text!r}: expected words with commas between them, as in person,bicycle, none of them blank")
    return found


def settings_of(
    options: argparse.Namespace,
    inputs: Inputs,
    weights: Path,
    predictor: "RelationPredictor",
    label_space: "LabelSpace",
) -> dict[str, Any]:
    """Everything that results depend on: with other values a folder of results is not continued."""
    return {
        "inputs": str(inputs.root),
        "weights_sha256": hash_of(weights),
        "inference": dataclasses.asdict(predictor.settings),
        "precision": options.precision,
        **label_space.to_dict(),
        "top": options.top,
        "min_score": options.min_score,
        "every": options.every,
        "fps": options.fps,
        "draw": not options.no_draw,
        "draw_top": options.draw_top,
        "graphs": options.graphs,
        "gallery": not options.no_gallery,
    }


def hash_of(folder: Path) -> str:
    """SHA-256 over the names and contents of the files of a weight folder, but for texts about it and hidden files."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and path.suffix != ".md" and not any(part.startswith(".") for part in name.parts):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(f"{name.as_posix()} {content}\n".encode())
    return whole.hexdigest()


@contextmanager
def _progress(inputs: Inputs, options: argparse.Namespace) -> Iterator[Callable[[int], None]]:
    """A bar on stderr where somebody watches a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda number: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from rlipv2.predict.video import expected_frames

    total = len(inputs.images) + sum(
        expected_frames(source.path, options.every, options.fps) for source in inputs.videos
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("predict", total=total)
        yield lambda number: progress.advance(task, number)


def _summary(options: argparse.Namespace, inputs: Inputs, counts: "Counts") -> int:
    """Writes the gallery, tells what became of the files; returns the exit status."""
    from rlipv2.predict.names import ERRORS, PAGE, PREDICTIONS
    from rlipv2.predict.results import read_lines

    if len(inputs.sources) == 1 and not inputs.videos and not counts.errors:
        line = next(line for line in read_lines(options.out / PREDICTIONS) if line["image"] == inputs.sources[0].name)
        for triplet in line["triplets"][:SHOWN_TRIPLETS]:
            print(f"{triplet['score']:.2f}  {triplet['subject']} {triplet['relation']} {triplet['object']}")
    made = [
        f"{number:,} {what}{'s' * (number != 1)}"
        for number, what in ((counts.images, "image"), (counts.frames, "frame"))
    ]
    rate = (counts.images + counts.frames) / max(counts.seconds, 1e-9)
    print(f"{' and '.join(made)} in {counts.seconds:.1f} s ({rate:.1f} per second); {counts.found:,} were there before")
    if not options.no_gallery:
        from rlipv2.predict.gallery import write_gallery

        write_gallery(options.out)
    print(f"{options.out / (PREDICTIONS if options.no_gallery else PAGE)}")
    if not counts.errors:
        return FINE
    print(f"{len(counts.errors):,} failed, all named in {options.out / ERRORS}:", file=sys.stderr)
    for name, error in list(counts.errors.items())[:SHOWN_ERRORS]:
        print(f"  {name}: {error}", file=sys.stderr)
    return SOME_FAILED


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected 1 or more")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 to 1")
    return number


def _rate(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected more than 0")
    return number
