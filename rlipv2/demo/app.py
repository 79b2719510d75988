"""The page: upload a picture, edit words, move the slider; drawn picture, graph, table, JSON."""

import json
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from rlipv2.demo.finder import Finder, Found
from rlipv2.demo.words import as_text, parse_label_space
from rlipv2.structures import LabelSpace
from rlipv2.vocabularies import label_space_names, named_label_space

DOWNLOADS = 200
"""Files for downloading that are kept; older ones go."""
SAVED = "saved with the weights"
HEADERS = ["#", "subject", "relation", "object", "score"]
FONTS = ["system-ui", "sans-serif"]  # gradio's own themes fetch fonts from the internet
NO_WORDS = LabelSpace(objects=("person", "dog", "bicycle", "cup"), relations=("hold", "ride", "next to", "look at"))
"""Where the weights bring no words."""


class Page:
    """What the parts of the page call.

    Args:
        finder: answers.
        folder: where files for downloading are written.
    """

    def __init__(self, finder: Finder, folder: Path) -> None:
        self.finder = finder
        self.folder = folder
        self._files: deque[Path] = deque()

    def words_of(self, vocabulary: str) -> tuple[str, str]:
        """Objects and relations of a vocabulary, for the two fields."""
        saved = self.finder.predictor.label_space or NO_WORDS
        space = saved if vocabulary == SAVED else named_label_space(vocabulary)
        return as_text(space.objects), as_text(space.relations)

    def show(self, file: str | None, objects: str, relations: str, min_score: float, top: float) -> tuple[Any, ...]:
        """Contents of drawn picture, graph, table, download and the line above them."""
        if not file:
            return None, "", [], gr.DownloadButton(interactive=False), "Upload a picture, or take one of the examples."
        started = time.perf_counter()
        try:
            found = self.finder(file, parse_label_space(objects, relations), min_score=min_score, top=int(top))
        except ValueError as error:
            raise gr.Error(str(error).replace(file, Path(file).name), print_exception=False) from error
        download = gr.DownloadButton(value=str(self._write(found)), interactive=True)
        return found.drawn, found.graph, found.rows, download, _line(found, time.perf_counter() - started)

    def _write(self, found: Found) -> Path:
        with tempfile.NamedTemporaryFile(
            "w", dir=self.folder, prefix="triplets_", suffix=".json", delete=False
        ) as file:
            json.dump(found.content, file, indent=1, ensure_ascii=False)
        self._files.append(Path(file.name))
        while len(self._files) > DOWNLOADS:
            self._files.popleft().unlink(missing_ok=True)
        return Path(file.name)


def build_app(page: Page, examples: Sequence[Path], *, title: str, min_score: float = 0.1) -> gr.Blocks:
    """The page, not started yet.

    Args:
        page: what it calls.
        examples: pictures to begin with.
        title: heading, in plain text.
        min_score: where the slider begins.
    """
    objects, relations = page.words_of(SAVED)
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(3600, 3600)) as app:
        gr.Markdown("## " + title.replace("<", "&lt;"))
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                image = gr.Image(type="filepath", image_mode=None, label="Picture", sources=["upload", "clipboard"])
                gr.Examples([[str(path)] for path in examples], [image], label="Examples")
                vocabulary = gr.Dropdown(
                    [SAVED, *label_space_names()], value=SAVED, label="Words", elem_id="vocabulary"
                )
                objects_box = gr.Textbox(objects, lines=3, max_lines=8, label="Subjects and objects", elem_id="objects")
                relations_box = gr.Textbox(relations, lines=3, max_lines=8, label="Relations", elem_id="relations")
            with gr.Column(scale=3, min_width=400):
                status = gr.Markdown("Upload a picture, or take one of the examples.", elem_id="status")
                with gr.Row():
                    threshold = gr.Slider(0, 1, min_score, step=0.01, label="Least score", elem_id="threshold")
                    top = gr.Slider(1, 50, 10, step=1, label="Triplets at most", elem_id="top")
                with gr.Tab("Picture"):
                    drawn = gr.Image(
                        label="Relations",
                        interactive=False,
                        format="png",
                        buttons=["download", "fullscreen"],  # not "share", which uploads
                        elem_id="drawn",
                    )
                with gr.Tab("Graph"):
                    graph = gr.HTML(label="Scene graph", elem_id="graph")
                with gr.Tab("Table"):
                    table = gr.Dataframe(headers=HEADERS, interactive=False, elem_id="table")
                download = gr.DownloadButton("JSON", interactive=False, elem_id="download")
        shown = [drawn, graph, table, download, status]
        asked = [image, objects_box, relations_box, threshold, top]
        vocabulary.input(page.words_of, [vocabulary], [objects_box, relations_box], api_visibility="private")
        # the last of quick changes counts, so that a dragged slider does not queue up
        gr.on(
            [part.change for part in (image, objects_box, relations_box, threshold, top)],
            page.show,
            asked,
            shown,
            api_name="find",
            trigger_mode="always_last",
            show_progress="minimal",
        )
    return app


def launch(app: gr.Blocks, *, host: str, port: int | None, quiet: bool = False, block: bool = True) -> str:
    """Starts the page and returns its address.

    Args:
        app: of `build_app`.
        host: address to listen on; 127.0.0.1 is this machine only.
        port: None takes the first free one from 7860.
        quiet: print nothing.
        block: return only after an interruption.
    """
    theme = gr.themes.Default(font=FONTS, font_mono=["ui-monospace", "monospace"])
    _, address, _ = app.queue(max_size=64).launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=quiet,
        prevent_thread_lock=True,
        footer_links=[],
        max_file_size="50mb",
        theme=theme,
        show_error=True,  # also of files that are no pictures, which fail before the page is asked
    )
    if block:
        app.block_thread()
    return address


def _line(found: Found, seconds: float) -> str:
    hidden = f", {found.left_out} more below the limits" if found.left_out else ""
    return f"{len(found.rows)} triplets{hidden} ({seconds:.2f} s)"
