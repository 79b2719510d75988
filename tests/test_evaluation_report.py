"""The page about a test: what it shows, that it needs nothing from elsewhere, and that a browser runs it."""

import csv
import multiprocessing
import os
import re
import shutil
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torchmetrics import Metric

import train
from rlipv2.callbacks import EvaluationReport
from rlipv2.callbacks.report import Example, Examples, Run, write_report
from rlipv2.callbacks.report.tables import Official, Table, official_of
from rlipv2.metrics import HICODetMAP, OpenImagesSGG, TripletMAP
from rlipv2.metrics.diagnosis import KINDS, DiagnosisMetric, diagnose
from rlipv2.structures import Annotation, LabelSpace, PairPredictions, Sample
from tests.fakes import write_hico
from tests.metrics import vcoco_cases as vcoco
from tests.test_train import configured, even_scenes

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
HOSTILE = '</script><img src=x onerror="fail()">'
SPACE = LabelSpace(("person", "horse", HOSTILE), ("ride", "feed", "hold"))
NUM_IMAGES = 9


def image(number: int) -> tuple[PairPredictions, Annotation]:
    """A person rides and holds a horse; the more images, the more of them are predicted wrongly."""
    person, horse = [4.0, 4, 40, 60], [50.0, 8, 90, 60]
    annotation = Annotation(
        image_id=100 + number,
        file_name=f"<b>{number}</b>.jpg",
        boxes_xyxy=torch.tensor([person, horse]),
        labels=torch.tensor([0, 2 if number == 8 else 1]),
        relations=torch.tensor([[0, 1, 0], [0, 1, 2]]),
    )
    off = torch.tensor([0.0, 20, 0, 20]) * (number % 3)
    predictions = PairPredictions(
        subject_boxes=torch.tensor([person, person]) + off,
        object_boxes=torch.tensor([horse, person]) + off,
        subject_labels=torch.tensor([0, 0]),
        object_labels=torch.tensor([1, 0]),
        relation_scores=torch.tensor([[0.9, 0.2, 0.6], [0.1, 0.05, 0.02]]) - 0.01 * number,
    )
    return predictions, annotation


def sample(index: int) -> Sample:
    annotation = image(index)[1]
    pixels = torch.full((3, 70, 100), 40 * (index % 6), dtype=torch.uint8)
    return Sample(image=pixels, annotation=annotation, label_space=SPACE, original_size=(70, 100))


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    metric = DiagnosisMetric.of(TripletMAP(num_objects=3, num_relations=3), SPACE)
    examples = Examples(2, 4)
    for number in range(NUM_IMAGES):
        predictions, annotation = image(number)
        metric.update([predictions], [annotation], torch.tensor([number]))
        examples.add(*metric.latest)
    run = Run(
        title=f"Evaluation: {HOSTILE}",
        protocol="average precision of triplets",
        figures={"map_triplet": 0.5, "rlipv2/map": float("nan")},
        losses={"loss": 1.5},
        settings={"weights": HOSTILE},
        command=f"python evaluate.py experiment={HOSTILE}",
        config="name: <tiny>",
    )
    return write_report(
        tmp_path_factory.mktemp("run") / "report",
        run,
        diagnosis=metric.result(),
        examples=examples.chosen(),
        sample=sample,
    )


def table(report: Path, name: str) -> list[dict[str, str]]:
    with (report.parent / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tables_beside_the_page_hold_the_figures_of_the_diagnosis(report) -> None:
    expected = diagnose(*map(list, zip(*map(image, range(NUM_IMAGES)), strict=True)), SPACE)
    assert [float(row["ap"]) for row in table(report, "classes")] == expected.classes.ap.tolist()
    assert [row["kind"] for row in table(report, "errors")] == [*KINDS, "missed", "false positives"]
    assert [int(row["all"]) for row in table(report, "errors")][: len(KINDS)] == expected.errors.all_counts.tolist()
    assert len(table(report, "images")) == NUM_IMAGES
    assert {row["relation"] for row in table(report, "curves")} == {"all", "ride", "hold", "feed"}
    assert table(report, "figures") == [
        {"figure": "map_triplet", "value": "0.5"},
        {"figure": "rlipv2/map", "value": ""},
    ]
    assert (
        sum(int(row["(no pair found)"]) for row in table(report, "confusion")) == expected.confusion.counts[:, -1].sum()
    )


def test_the_page_says_what_is_asked_for(report) -> None:
    page = report.read_text(encoding="utf-8")
    for part in ("figures", "errors", "classes", "relations", "confusion", "best", "worst", "settings"):
        assert f'<section id="{part}">' in page
        assert f'href="#{part}"' in page
    assert page.count('<article class="card">') == 4
    assert page.count("data:image/jpeg;base64,") == 8
    assert page.count('loading="lazy"') == 8
    assert 'data-sortable id="class-table"' in page
    for kind in (*KINDS, "missed", "false positives"):
        assert f"<th>{kind}<td>" in page
    for text in ("rules of the official RLIPv2 evaluator", "map_triplet", "name: &lt;tiny&gt;"):
        assert text in page


def test_user_text_is_escaped_and_nothing_comes_from_elsewhere(report) -> None:
    page = report.read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert "&lt;img src=x" in page
    assert "<b>8</b>" not in page
    assert HOSTILE in unescape(page)
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*\"", page)
    assert not re.findall(r"url\((?!#)", page)


def test_best_and_worst_images_are_told_apart() -> None:
    examples = Examples(2, 4)
    for index, ap in enumerate([0.5, 1.0, 0.0, 0.9, 0.1, 1.0]):
        examples.kept[index] = Example(index, ap, 1 + index, np.zeros((0, 13)), np.zeros((0, 13)))
    best, worst = examples.chosen()
    assert [each.index for each in best] == [5, 1]  # equal: more labels first
    assert [each.index for each in worst] == [2, 4]
    few = Examples(3, 4, {index: examples.kept[index] for index in (0, 1, 2)})
    assert [[each.index for each in part] for part in few.chosen()] == [[1, 0], [2]]


def test_only_a_few_images_are_kept_however_many_come() -> None:
    metric, examples = DiagnosisMetric.of(TripletMAP(num_objects=3, num_relations=3), SPACE), Examples(1, 2)
    for number in range(60):
        predictions, annotation = image(number % NUM_IMAGES)
        metric.update([predictions], [annotation], torch.tensor([number]))
        examples.add(*metric.latest)
        assert len(examples.kept) <= 5
        assert all(len(each.detections) <= 2 for each in examples.kept.values())
    images = metric.result().images
    all_aps = dict(zip(images.indices.tolist(), images.ap.tolist(), strict=True))
    best, worst = examples.chosen()
    assert best[0].ap == max(all_aps.values())
    assert worst[0].ap == min(all_aps.values())


def benchmark(kind: str) -> tuple[Metric, list[PairPredictions], list[Annotation], LabelSpace]:
    if kind == "vcoco":
        scene = vcoco.Scene(
            [(vcoco.PERSON, vcoco.ANNE), (vcoco.BOTTLE, vcoco.KNIFE)], {0: {"cut": (1, -1), "stand": ()}}
        )
        pair = (vcoco.ANNE, vcoco.KNIFE, vcoco.BOTTLE, {"cut_instr": 0.9, "stand": 0.6})
        names = LabelSpace(("person", "bottle", "car", LabelSpace.MISSING_OBJECT), vcoco.VERBS)
        return vcoco.small_metric(scene), [vcoco.small_predictions(pair)], [vcoco.annotation(1)], names
    predictions, annotations = map(list, zip(*map(image, range(NUM_IMAGES)), strict=True))
    triplets = np.array([[0, 0, 1], [0, 2, 1], [0, 0, 2], [0, 2, 2]])
    if kind == "hico":
        rare = np.array([True, False, False, True])
        return HICODetMAP(hois=triplets[:, 1:], rare=rare, unseen=~rare), predictions, annotations, SPACE
    return OpenImagesSGG(triplets=triplets, num_objects=3, num_relations=3), predictions, annotations, SPACE


@pytest.mark.parametrize("kind", ["hico", "open_images", "vcoco"])
def test_every_benchmark_has_its_own_figures_per_class(kind, tmp_path) -> None:
    metric, predictions, annotations, names = benchmark(kind)
    metric.update(predictions, annotations, torch.arange(len(predictions)))
    diagnosis, official = diagnose(predictions, annotations, names, metric=metric), official_of(metric, names.relations)
    run = Run("Evaluation", "a benchmark", {name: float(value) for name, value in metric.compute().items()})
    page = write_report(tmp_path, run, diagnosis=diagnosis, official=official).read_text(encoding="utf-8")
    assert f"{100 * diagnosis.ap:.2f}" in page
    expected = {
        "hico": ["AP, known object", "AP, MATLAB", "mean AP, rare", "mean AP, unseen", "Mean AP by group"],
        "open_images": ["AP of phrases", "not comparable with those of RLIPv2", "rlipv2/score_wtd"],
        "vcoco": ["AP role, scenario 1", "not the published role AP", "AP agent"],
    }
    for text in expected[kind]:
        assert text in page
    if kind == "vcoco":
        rows = table(tmp_path / "index.html", "roles")
        published = [
            float(row["AP role, scenario 1"]) for row in rows if not row["note"] and row["AP role, scenario 1"]
        ]
        assert np.mean(published) == pytest.approx(float(metric.compute()["role_ap_1"]))


def test_a_page_without_diagnosis_says_why(tmp_path) -> None:
    run = Run("Evaluation", "COCO average precision of boxes", {"map": 0.25})
    tables = (Table("more", "More", ("class", "AP"), [["a", None]]),)
    page = write_report(tmp_path, run, reason="No errors by kind", official=Official({}, tables))
    text = page.read_text(encoding="utf-8")
    assert "No errors by kind" in text
    assert "25.00" in text
    assert 'id="errors"' not in text
    assert not (tmp_path / "tables" / "classes.csv").exists()


def test_a_test_writes_the_report(tmp_path) -> None:
    """Through the trainer, with the metric of HICO-DET and its own images."""
    hico = write_hico(tmp_path / "hico", scenes={"train": even_scenes("train", 2), "test": even_scenes("test", 3)})
    config = configured(hico, tmp_path / "run", "callbacks.pictures=null", "callbacks.evaluation_report.num_images=1")
    trainer, task, datamodule = train.build(config, None)
    trainer.test(task, datamodule=datamodule, weights_only=True)
    page = tmp_path / "run" / "report" / "index.html"
    (callback,) = [each for each in trainer.callbacks if isinstance(each, EvaluationReport)]
    assert callback.diagnosis.ap == pytest.approx(float(trainer.callback_metrics["test/map_full"]), abs=1e-12)
    assert len(table(page, "classes")) == 600
    assert {row["group"] for row in table(page, "classes")} == {"rare", "non-rare"}
    text = page.read_text(encoding="utf-8")
    assert "HICO-DET; figures without prefix follow the official RLIPv2 rules" in text
    assert "HICO_test2015_00000001.jpg" in text or "HICO_test2015_00000002.jpg" in text


def test_bad_arguments(tmp_path) -> None:
    with pytest.raises(ValueError, match="num_images=-1, top=8: expected at least 0 images and 1 detection"):
        EvaluationReport(tmp_path, num_images=-1)


def work(rank: int, folder: Path) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    metric, examples = DiagnosisMetric.of(TripletMAP(num_objects=3, num_relations=3), SPACE), Examples(2, 4)
    # as a distributed sampler: the first image comes again to fill up
    for number in [*range(rank, NUM_IMAGES, 2), *([0] if rank else [])]:
        predictions, annotation = image(number)
        metric.update([predictions], [annotation], torch.tensor([number]))
        examples.add(*metric.latest)
    result = metric.result().to_dict()
    chosen = [[each.index for each in part] for part in examples.gathered(torch.device("cpu")).chosen()]
    torch.save({"result": result, "chosen": chosen}, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(sys.platform != "linux", reason="forks, so that torchmetrics is imported only once")
def test_two_processes_give_the_report_of_one(tmp_path) -> None:
    metric, examples = DiagnosisMetric.of(TripletMAP(num_objects=3, num_relations=3), SPACE), Examples(2, 4)
    for number in range(NUM_IMAGES):
        predictions, annotation = image(number)
        metric.update([predictions], [annotation], torch.tensor([number]))
        examples.add(*metric.latest)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(rank, tmp_path), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    for rank in range(2):
        seen = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert seen["result"] == metric.result().to_dict()
        assert seen["chosen"] == [[each.index for each in part] for part in examples.chosen()]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium installed")
def test_the_page_runs_in_a_browser(report) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[dev]'")
    wrong: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on(
            "request", lambda request: None if request.url.startswith(("file:", "data:")) else wrong.append(request.url)
        )
        page.goto(report.as_uri())
        cells = "#relation-table tbody tr:not([hidden]) td:nth-child({})"

        def column(number: int) -> list[str]:
            return page.locator(cells.format(number)).all_inner_texts()

        assert column(1) == ["ride", "feed", "hold"]
        page.click("#relation-table thead th:nth-child(4)")
        labels = [int(text) for text in column(4)]
        assert labels == sorted(labels, reverse=True)
        page.click("#relation-table thead th:nth-child(4)")
        assert [int(text) for text in column(4)] == labels[::-1]
        page.locator("#relation-table thead th:nth-child(1)").press("Enter")
        assert column(1) == ["feed", "hold", "ride"]
        page.fill('input[data-filters="relation-table"]', "HOL")
        assert column(1) == ["hold"]
        images = page.locator("article img")
        for row in range(images.count()):
            images.nth(row).scroll_into_view_if_needed()
            assert images.nth(row).evaluate("picture => picture.decode().then(() => picture.naturalWidth)") > 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        browser.close()
    assert wrong == []
