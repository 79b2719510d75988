"""Time from a change on the demo's page to its answer, through the running server.

    python benchmarks/demo.py --weights logs/quickstart/weights

Starts the page on loopback and asks it over its queue, as a browser does: every request with another picture, so that
nothing is answered from memory; then the same again, which only filters and draws.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

from gradio_client import Client, handle_file

from rlipv2.demo.app import Page, build_app, launch
from rlipv2.demo.examples import SIZE
from rlipv2.demo.finder import Finder
from rlipv2.microworld.deck import deal
from rlipv2.microworld.world import draw
from rlipv2.predict.predictor import RelationPredictor


def main() -> None:
    """Prints a row for new pictures and one for known ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="logs/quickstart/weights")
    parser.add_argument("--requests", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = []
        for index, cards in enumerate(deal("latency", "test", options.requests + 1)):
            files.append(folder / f"{index}.png")
            draw("latency", "test", index, cards, SIZE).image.save(files[-1])
        page = Page(Finder(RelationPredictor.from_pretrained(options.weights)), folder)
        words = page.words_of("saved with the weights")
        app = build_app(page, files[:1], title="latency")
        client = Client(launch(app, host="127.0.0.1", port=None, quiet=True, block=False), verbose=False)

        def ask(file: Path) -> float:
            started = time.perf_counter()
            client.predict(handle_file(file), *words, 0.1, 10, api_name="/find")
            return time.perf_counter() - started

        ask(files[0])  # text features, and whatever else is made once
        print(f"{'seconds':24s} {'p50':>6s} {'p95':>6s} {'longest':>8s}")
        for kind in ("new picture", "known picture"):
            times = [ask(file) for file in files[-20:] if kind == "known picture"] or [ask(file) for file in files[1:]]
            p95 = statistics.quantiles(times, n=20)[-1]
            print(f"{kind:24s} {statistics.median(times):6.3f} {p95:6.3f} {max(times):8.3f}")
        app.close()


if __name__ == "__main__":
    main()
