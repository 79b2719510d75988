"""`python -m rlipv2 demo --weights W`: a page in the browser, on this machine only unless told otherwise."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the page until it is interrupted; exit status 2: it could not start."""
    options = build_parser().parse_args(arguments)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
    from rlipv2.demo.app import Page, build_app, launch
    from rlipv2.demo.examples import draw_examples, find_examples
    from rlipv2.demo.finder import Finder
    from rlipv2.predict.predictor import RelationPredictor

    with tempfile.TemporaryDirectory(prefix="rlipv2_demo_") as folder:
        try:
            predictor = RelationPredictor.from_pretrained(options.weights, device=options.device)
            examples = find_examples(options.examples) if options.examples else draw_examples(Path(folder))
            page = Page(Finder(predictor), Path(folder))
            app = build_app(page, examples, title=options.title, min_score=options.min_score)
            launch(app, host=options.host, port=options.port)
        except KeyboardInterrupt:
            return 0
        except (ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m rlipv2 demo",
        description="A page in the browser: a picture and any words in, drawn relations out.",
    )
    parser.add_argument("--weights", required=True, help="weight folder, or a repository of the Hugging Face Hub")
    parser.add_argument(
        "--examples", type=Path, metavar="DIR", help="folder of pictures to begin with (generated ones)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, help="(the first free one from 7860)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps (the best there is)")
    parser.add_argument("--min-score", type=float, default=0.1, metavar="S", help="where the slider begins (0.1)")
    parser.add_argument("--title", default="Relations in pictures", help="heading of the page")
    return parser


if __name__ == "__main__":
    sys.exit(main())
