"""What the dashboard of each benchmark shows, as plain data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from rlipv2.dashboard import names

Kind = Literal["hico", "vcoco", "open_images", "pretraining"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Panel:
    """A panel.

    Attributes:
        kind: `curve` over steps, epochs or images; `figure`: one value per run, as a bar; `pictures`; `table`; `chart`.
        title: above it.
        keys: what it shows, as it is logged.
        over: x axis of curves.
    """

    kind: Literal["curve", "figure", "pictures", "table", "chart"]
    title: str
    keys: tuple[str, ...]
    over: str = names.EPOCHS


@dataclass(frozen=True)
class Section:
    """Panels under a heading, with a sentence on how to read them."""

    title: str
    panels: tuple[Panel, ...]
    text: str = ""
    is_open: bool = True


@dataclass(frozen=True)
class Dashboard:
    """All sections of a benchmark.

    Attributes:
        title: its name.
        sections: from top to bottom.
        columns: figures that the list of runs shows.
        data: choices of the group `data` whose runs belong here, which their tags name.
    """

    title: str
    sections: tuple[Section, ...]
    columns: tuple[str, ...]
    data: tuple[str, ...]

    @property
    def keys(self) -> list[str]:
        """Everything that is shown, axes too."""
        panels = [panel for section in self.sections for panel in section.panels]
        shown = [key for panel in panels for key in panel.keys]
        return list(dict.fromkeys([*shown, *(panel.over for panel in panels if panel.kind == "curve"), *self.columns]))


PAIR_LOSSES = (
    "loss_relation",
    "loss_object_class",
    "loss_subject_class",
    "loss_object_box",
    "loss_subject_box",
    "loss_object_giou",
    "loss_subject_giou",
)


def dashboard(kind: Kind) -> Dashboard:
    """What is shown of a benchmark.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: expected one of {', '.join(KINDS)}")
    return {"hico": _hico, "vcoco": _vcoco, "open_images": _open_images, "pretraining": _pretraining}[kind]()


def _hico() -> Dashboard:
    main = {"map_full": "mAP full", "map_rare": "mAP rare", "map_non_rare": "mAP non-rare"}
    more = {
        "map_ko_full": "Known objects: full",
        "map_ko_rare": "Known objects: rare",
        "map_ko_non_rare": "Known objects: non-rare",
        "mean_max_recall": "Mean max recall",
        "matlab/map_full": "MATLAB protocol: full",
    }
    figures = _figures(
        main, more, text="Default setting first; `map_ko_*` judges the images that show the object alone."
    )
    return _evaluated("HICO-DET", figures, main, ("hico", "micro_hico"))


def _vcoco() -> Dashboard:
    main = {"role_ap_1": "Role AP, scenario 1", "role_ap_2": "Role AP, scenario 2", "agent_ap": "Agent AP"}
    more = {
        "role_ap_1_with_point": "Role AP 1 with point",
        "role_ap_2_with_point": "Role AP 2 with point",
        "in_training/map_all": "In-training mAP",
        "in_training/map_thesis": "In-training mAP (thesis)",
    }
    figures = _figures(
        main, more, text="Scenario 1 asks for no box where the object is missing; scenario 2 ignores it."
    )
    return _evaluated("V-COCO", figures, main, ("vcoco", "micro_vcoco"))


def _open_images() -> Dashboard:
    main = {
        "rlipv2/score_wtd": "Weighted score",
        "rlipv2/max_recall_rel_50": "Recall@50",
        "rlipv2/wmap_rel_100": "wmAP of relations",
        "rlipv2/wmap_phr_100": "wmAP of phrases",
    }
    more = {
        "pysgg/score_wtd": "Literature: weighted score",
        "pysgg/recall_50": "Literature: R@50",
        "pysgg/wmap_rel": "Literature: wmAP of relations",
        "pysgg/wmap_phr": "Literature: wmAP of phrases",
    }
    text = "Official RLIPv2 figures, averages over triplets, and those of the literature, averages over relations."
    return _evaluated("Open Images", _figures(main, more, text=text), main, ("open_images", "micro_open_images"))


def _pretraining() -> Dashboard:
    detection = _losses("Object detection", ("loss_class", "loss_box", "loss_giou"), is_open=False)
    corpora = ("vg", "vg_coco", "vg_coco_direct", "vg_coco_o365", "vg_coco_hico", "vg_coco_o365_hico", "vg_hico")
    data = (*corpora, "vg_tagger", "coco_detection", "coco_o365_detection", "micro_vg", "micro_vg_coco", "micro_coco")
    figures = Section(
        "Held-out figures",
        (
            _curve("Tagger: accuracy of the best relation", "val/tagging_accuracy"),
            _curve("Tagger: mAP of relations", "val/tagging_map"),
            _curve("Tagger: related against unrelated pairs", "val/tagging_auc"),
            _curve("Detection: AP", "val/AP"),
            _curve("Detection: AP50", "val/AP50"),
        ),
        "Relational pre-training trains on all images and measures nothing; Relation Tagger and object detection do.",
    )
    total = Section(
        "Training",
        (
            _curve("Loss over images", "train/loss", over=names.IMAGES),
            _curve("Loss over steps", "train/loss", over=names.STEPS),
        ),
        "Over images curves of different batches compare.",
    )
    sections = (total, _losses("Relations", PAIR_LOSSES), detection, figures, _pictures("val"), _rates(), _speed())
    return Dashboard("Pre-training", sections, ("train/loss", names.IMAGES_PER_SECOND), (*data, "micro_vg_tagger"))


def _evaluated(title: str, figures: Sequence[Section], main: dict[str, str], data: tuple[str, ...]) -> Dashboard:
    losses = _losses("Losses", PAIR_LOSSES)
    sections = (*figures, _diagnosis(), _pictures("val"), _pictures("test"), losses, _rates(), _speed())
    return Dashboard(title, sections, tuple(f"test/{name}" for name in main), data)


def _figures(main: dict[str, str], more: dict[str, str], *, text: str) -> tuple[Section, ...]:
    tested = tuple(Panel("figure", f"Test: {words}", (f"test/{name}",)) for name, words in main.items())
    curves = tuple(_curve(words, f"val/{name}") for name, words in main.items())
    others = tuple(_curve(words, f"val/{name}") for name, words in more.items())
    return Section("Main figures", (*tested, *curves), text), Section("Further figures", others, is_open=False)


def _losses(title: str, losses: Sequence[str], *, is_open: bool = True) -> Section:
    panels = [_curve(f"Training: {name}", f"train/{name}", over=names.STEPS) for name in losses]
    if title == "Losses":
        panels = [
            _curve("Training loss over images", "train/loss", over=names.IMAGES),
            _curve("Validation loss", "val/loss"),
            *panels,
        ]
    return Section(title, tuple(panels), "Un-weighted; the total is weighted.", is_open)


def _diagnosis() -> Section:
    charts = tuple(Panel("chart", chart.title, (chart.key,)) for chart in names.CHARTS)
    titles = ("Average precision per triplet", "Average precision per relation", "Errors by kind")
    tables = tuple(Panel("table", title, (key,)) for title, key in zip(titles, names.TABLES, strict=True))
    return Section("Errors of the test", (*charts, *tables), "Of the weights of the last epoch.")


def _pictures(stage: str) -> Section:
    words = {"val": "Validation", "test": "Test"}[stage]
    pictures = Panel("pictures", "Predictions and labels", (names.PICTURES.format(stage=stage),))
    table = Panel("table", "The same as a table", (names.EXAMPLES.format(stage=stage),))
    return Section(
        f"{words} images", (pictures, table), "Boxes of a pair share a number; filter them by class and score."
    )


def _rates() -> Section:
    return Section(
        "Learning rates", tuple(_curve(name, name, over=names.STEPS) for name in names.LEARNING_RATES), is_open=False
    )


def _speed() -> Section:
    titles = {
        names.IMAGES_PER_SECOND: "Images per second",
        names.STEP_SECONDS: "Seconds of a step",
        names.DATA_SECONDS: "Seconds of a step spent waiting for data",
        names.PROCESS_MEMORY: "Main memory (GiB)",
        names.GPU_PEAK: "GPU memory, peak (GiB)",
        names.GPU_RESERVED: "GPU memory, reserved (GiB)",
    }
    return Section("Speed and memory", tuple(_curve(title, key, over=names.STEPS) for key, title in titles.items()))


def _curve(title: str, key: str, *, over: str = names.EPOCHS) -> Panel:
    return Panel("curve", title, (key,), over)
