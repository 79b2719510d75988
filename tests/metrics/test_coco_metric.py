import json
import math
import re

import numpy as np
import pytest
import torch

from rlipv2.metrics import COCODetectionAP
from rlipv2.metrics.__main__ import main
from rlipv2.metrics.coco.protocol import BACKENDS, FIGURES, BoxDetections, BoxTruth, evaluate
from rlipv2.structures import Annotation, BoxPredictions
from tests.metrics.coco_cases import case, instances, pycocotools_directly, results, write_files


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_figures_equal_those_of_pycocotools_used_directly(backend, seed):
    truth, detections = case(seed)
    assert truth.crowd.any()
    stats, class_ap = pycocotools_directly(truth, detections)
    figures = evaluate(truth, detections, backend=backend, per_class=True)
    assert list(figures.values) == list(FIGURES)
    np.testing.assert_allclose(list(figures.values.values()), stats, atol=1e-7)  # torchmetrics gives float32
    assert list(figures.class_ap) == [1, 2, 3, 90]
    np.testing.assert_allclose(list(figures.class_ap.values()), class_ap, atol=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_crowd_regions_forgive_detections_and_count_as_no_label(backend):
    truth, detections = one_class(boxes=[[0, 0, 10, 10], [20, 0, 40, 40]], crowd=[False, True])
    on_crowd = BoxDetections(*(np.repeat(values, [1, 3], axis=0) for values in vars(detections).values()))
    assert evaluate(truth, on_crowd, backend=backend).values["AP"] == pytest.approx(1)
    labelled = BoxTruth(**(vars(truth) | {"crowd": np.zeros(2, bool)}))
    assert evaluate(labelled, on_crowd, backend=backend).values["AP"] == pytest.approx(1)
    only_first = BoxDetections(*(values[:1] for values in vars(detections).values()))
    assert evaluate(labelled, only_first, backend=backend).values["AP"] == pytest.approx(51 / 101)
    assert evaluate(truth, only_first, backend=backend).values["AP"] == pytest.approx(1)


def one_class(boxes, crowd):
    """Every box is labelled and detected, the first with the highest score."""
    boxes = np.array(boxes, float)
    count = len(boxes)
    truth = BoxTruth(
        np.array([5]), boxes, np.ones(count, int), boxes[:, 2:].prod(1), np.array(crowd), np.array([0, count])
    )
    return truth, BoxDetections(np.zeros(count, int), boxes, np.ones(count, int), np.linspace(0.9, 0.5, count))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_recall_on_a_level_reaches_it(backend):
    """3 of 10 found: levels 0.00 to 0.30 are reached, with the float32 levels of torchmetrics only to 0.29."""
    truth, detections = one_class([[20 * k, 0, 10, 10] for k in range(10)], [False] * 10)
    three = BoxDetections(*(values[:3] for values in vars(detections).values()))
    assert evaluate(truth, three, backend=backend).values["AP"] == pytest.approx(31 / 101)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_area_of_zero_is_a_small_object(backend):
    truth, detections = one_class([[0, 0, 100, 100]], [False])
    truth = BoxTruth(**(vars(truth) | {"areas": np.zeros(1)}))
    values = evaluate(truth, detections, backend=backend).values
    assert math.isnan(values["APl"])
    assert values["ARs"] == pytest.approx(1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_detections_all_is_zero_and_without_labels_unknown(backend):
    truth, detections = case(3)
    nothing = BoxDetections(*(values[:0] for values in vars(detections).values()))
    assert evaluate(truth, nothing, backend=backend).values["AP"] == 0
    empty = BoxTruth(truth.image_ids[:1], *(values[:0] for values in list(vars(truth).values())[1:5]), np.array([0, 0]))
    first = BoxDetections(*(values[:1] for values in vars(detections).values()))
    first = BoxDetections(np.zeros(1, int), *list(vars(first).values())[1:])
    assert math.isnan(evaluate(empty, first, backend=backend).values["AP"])


def test_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="backend='numpy'"):
        evaluate(*case(0), backend="numpy")
    with pytest.raises(ValueError, match="backend='numpy'"):
        metric(case(0)[0], backend="numpy")


def test_backends_print_and_log_nothing(caplog, capsys):
    with caplog.at_level("INFO"):
        for backend in BACKENDS:
            evaluate(*case(0, images=3), backend=backend)
    assert not caplog.records
    assert not capsys.readouterr().out


CATEGORIES = (1, 2, 3, 90)


def metric(truth, **options):
    arrays = {
        "id": truth.image_ids,
        "bbox": truth.boxes,
        "category_id": truth.category_ids,
        "area": truth.areas,
        "iscrowd": truth.crowd,
        "box_ptr": truth.box_ptr,
    }
    return COCODetectionAP(ground_truth=arrays, category_ids=CATEGORIES, **options)


def batch(truth, detections, rows):
    predictions, annotations = [], []
    for row in rows:
        mine = detections.images == row
        boxes = torch.from_numpy(detections.boxes[mine])
        predictions.append(
            BoxPredictions(
                boxes_xyxy=torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1).float(),
                labels=torch.tensor([CATEGORIES.index(number) for number in detections.category_ids[mine]]).long(),
                scores=torch.from_numpy(detections.scores[mine]).float(),
            )
        )
        none = torch.zeros(0, 4)
        image = Annotation(int(truth.image_ids[row]), f"{row}.jpg", none, none[:, 0].long(), none[:, :3].long())
        annotations.append(image)
    return predictions, annotations


def test_metric_equals_the_evaluation_of_files_whatever_the_batches():
    truth, detections = case(4, images=12)
    expected = evaluate(truth, detections).values
    measured = metric(truth)
    for rows in ([0, 1, 2], [3], [11, 4, 5, 6, 7], [8, 9, 10]):
        measured.update(*batch(truth, detections, rows), torch.tensor(rows))
    values = measured.compute()
    assert list(values) == list(FIGURES)
    np.testing.assert_allclose([float(v) for v in values.values()], list(expected.values()), atol=1e-6)
    assert set(measured.per_class()) == set(CATEGORIES)


def test_repeated_images_count_once_and_unseen_images_not_at_all():
    truth, detections = case(5, images=8)
    once, twice = metric(truth), metric(truth)
    once.update(*batch(truth, detections, [0, 1, 2, 3]))
    twice.update(*batch(truth, detections, [0, 1, 2]))
    twice.update(*batch(truth, detections, [3, 0]))
    assert {k: float(v) for k, v in once.compute().items()} == pytest.approx(
        {k: float(v) for k, v in twice.compute().items()}, nan_ok=True
    )
    assert once.compute()["AR100"] > 0.2


def test_metric_starts_anew_after_reset():
    truth, detections = case(6, images=4)
    measured = metric(truth)
    measured.update(*batch(truth, detections, [0, 1]))
    measured.reset()
    measured.update(*batch(truth, detections, [2, 3]))
    fresh = metric(truth)
    fresh.update(*batch(truth, detections, [2, 3]))
    assert float(measured.compute()["AP"]) == float(fresh.compute()["AP"])


def test_what_does_not_fit_is_refused():
    truth, detections = case(7, images=3)
    predictions, annotations = batch(truth, detections, [0])
    other = Annotation(999, "999.jpg", *[annotations[0].boxes_xyxy] * 3)
    with pytest.raises(ValueError, match="image 999"):
        metric(truth).update(predictions, [other])
    far = BoxPredictions(torch.zeros(1, 4), torch.tensor([4]), torch.zeros(1))
    with pytest.raises(ValueError, match="labels from 4 to 4, the metric has 4 classes"):
        metric(truth).update([far], annotations)
    nan = BoxPredictions(torch.zeros(1, 4), torch.tensor([0]), torch.tensor([math.nan]))
    with pytest.raises(ValueError, match="not finite"):
        metric(truth).update([nan], annotations)
    with pytest.raises(ValueError, match="2 predictions for 1 images"):
        metric(truth).update(predictions * 2, annotations)
    with pytest.raises(ValueError, match=r"has no \['bbox'"):
        COCODetectionAP(ground_truth={"id": truth.image_ids}, category_ids=CATEGORIES)


def test_command_names_every_backend(tmp_path, capsys):
    truth, detections = case(8, images=6)
    write_files(tmp_path, truth, detections)
    files = ["--predictions", str(tmp_path / "results.json"), "--ground-truth", str(tmp_path / "instances.json")]
    main(["coco", *files, "--backend", "both", "--json", str(tmp_path / "out.json")])
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text())
    assert "faster_coco_eval 1." in printed
    assert "pycocotools 2." in printed
    assert written["backend"] == "faster_coco_eval"
    assert list(written["backends"]) == list(BACKENDS)
    np.testing.assert_allclose(written["coco_eval_bbox"], pycocotools_directly(truth, detections)[0], atol=1e-7)
    assert written["AP50"] == written["coco_eval_bbox"][1]
    assert set(written["class_ap"]) == {"class 1", "class 2", "class 3", "class 90"}
    assert written["versions"]["torchmetrics"]


def test_detections_of_unknown_classes_are_counted_and_do_not_matter(tmp_path, capsys):
    truth, detections = case(9, images=4)
    write_files(tmp_path, truth, detections)
    extra = results(truth, detections)
    extra.insert(2, extra[0] | {"category_id": 12, "score": 1.0})
    (tmp_path / "extra.json").write_text(json.dumps(extra))
    outputs = []
    for name in ("results", "extra"):
        files = ["--predictions", str(tmp_path / f"{name}.json"), "--ground-truth", str(tmp_path / "instances.json")]
        main(["coco", *files, "--json", str(tmp_path / "out.json")])
        outputs.append(json.loads((tmp_path / "out.json").read_text())["coco_eval_bbox"])
    assert outputs[0] == outputs[1]
    assert "1 detections do not count" in capsys.readouterr().err


RECORD = {"image_id": 3, "category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ({"annotations": []}, "holds a dict; expected a list"),
        ([RECORD, {"image_id": 3}], r"record 1 \(image 3\): category_id=None: missing"),
        ([RECORD | {"image_id": 4}], r"record 0 \(image 4\): image_id=4: no such image"),
        ([RECORD | {"category_id": "1"}], r"category_id=1: no integer"),
        ([RECORD | {"bbox": [0, 0, 5]}], r"bbox=\[0, 0, 5\]: not four finite numbers"),
        ([RECORD | {"bbox": [9, 9, -5, 5]}], "negative width or height"),
        ([RECORD | {"score": math.nan}], "score=nan: not a finite number"),
        ([3], r"record 0 \(image -1\): image_id=None: missing"),
    ],
)
def test_unusable_results_are_named(tmp_path, capsys, content, message):
    truth, detections = case(8, images=2)
    write_files(tmp_path, truth, detections)
    path = tmp_path / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(SystemExit) as stopped:
        main(["coco", "--predictions", str(path), "--ground-truth", str(tmp_path / "instances.json")])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert re.search(message, error), error


def test_unusable_ground_truth_is_named(tmp_path, capsys):
    truth, detections = case(8, images=2)
    write_files(tmp_path, truth, detections)
    content = instances(truth)
    content["annotations"][0]["category_id"] = 77
    (tmp_path / "instances.json").write_text(json.dumps(content))
    files = ["--predictions", str(tmp_path / "results.json"), "--ground-truth", str(tmp_path / "instances.json")]
    with pytest.raises(SystemExit):
        main(["coco", *files])
    assert "annotations.category_id=77: no category id" in capsys.readouterr().err
