import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rlipv2.metrics import TripletMAP
from rlipv2.metrics.__main__ import main
from rlipv2.metrics.triplets.protocol import greedy_matching
from rlipv2.structures import Annotation, PairPredictions
from tests.metrics.hico_cases import annotation
from tests.metrics.oi_cases import NUM_OBJECTS, NUM_RELATIONS, OpenImagesCase, Pair, scene


def run(case: OpenImagesCase, order: np.ndarray, batch_size: int = 32, **options: object) -> TripletMAP:
    metric = TripletMAP(num_objects=NUM_OBJECTS, num_relations=NUM_RELATIONS, **options)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        predictions, annotations = [case.predictions[row] for row in rows], [case.annotations[row] for row in rows]
        metric.update(predictions, annotations, torch.from_numpy(rows))
    return metric


def figures(metric: TripletMAP) -> dict[str, float]:
    return {key: value.item() for key, value in metric.compute().items()}


# The same figures by plain loops over detections.


def iou(a: np.ndarray, b: np.ndarray) -> float:
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return common / (sum(areas) - common)


def area_under_envelope(rows: list[tuple[float, bool]], num_labelled: int) -> float:
    hits = np.array([correct for _, correct in sorted(rows, key=lambda row: -row[0])], bool)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(sum(precision[rank:].max() for rank in np.flatnonzero(hits)) / num_labelled)


def reference(case: OpenImagesCase, images: range) -> dict[str, float]:
    per_triplet: dict[tuple, list] = {}
    per_relation: dict[int, list] = {}
    labelled: dict[tuple, int] = {}
    found: dict[int, dict[int, int]] = {20: {}, 50: {}, 100: {}}
    for image in images:
        label, rows = case.images[image], case.detections[image]
        boxes = label["boxes"].astype(np.float64)
        free = [(label["labels"][s], r, label["labels"][o], boxes[s], boxes[o]) for s, o, r in label["rels"]]
        for subject, relation, target, _, _ in free:
            labelled[subject, relation, target] = labelled.get((subject, relation, target), 0) + 1
        order = np.argsort(-rows["verb_scores"].ravel(), kind="stable")[:100]
        for rank, entry in enumerate(order):
            pair, relation = divmod(int(entry), NUM_RELATIONS)
            s, o = rows["sub_ids"][pair], rows["obj_ids"][pair]
            key = (rows["labels"][s], relation, rows["labels"][o])
            overlaps = [
                min(iou(rows["boxes"][s], truth[3]), iou(rows["boxes"][o], truth[4])) if truth[:3] == key else 0
                for truth in free
            ]
            correct = bool(overlaps) and max(overlaps) >= 0.5
            if correct:
                free.pop(int(np.argmax(overlaps)))
                for k in found:
                    if rank < k:
                        found[k][relation] = found[k].get(relation, 0) + 1
            score = float(rows["verb_scores"].ravel()[entry])
            per_triplet.setdefault(key, []).append((score, correct))
            per_relation.setdefault(relation, []).append((score, correct))
    relations: dict[int, int] = {}
    for (_, relation, _), count in labelled.items():
        relations[relation] = relations.get(relation, 0) + count
    values = {
        "map_triplet": np.mean([area_under_envelope(per_triplet.get(key, []), n) for key, n in labelled.items()]),
        "map_relation": np.mean([area_under_envelope(per_relation.get(key, []), n) for key, n in relations.items()]),
    }
    for k, hits in found.items():
        values[f"recall_{k}"] = sum(hits.values()) / sum(relations.values())
        values[f"mean_recall_{k}"] = np.mean([hits.get(relation, 0) / n for relation, n in relations.items()])
    return values


def test_figures_equal_those_of_plain_loops(oi_dev: OpenImagesCase) -> None:
    assert figures(run(oi_dev, np.arange(150))) == pytest.approx(reference(oi_dev, range(150)), abs=1e-9)


# What `reference` gives for all 1,000 images, which takes too long for every run.
RECORDED = {
    "map_triplet": 0.4472721152389549,
    "map_relation": 0.1967515341577704,
    "recall_20": 0.4852809991079393,
    "mean_recall_20": 0.48354619254950076,
    "recall_50": 0.6042224204579245,
    "mean_recall_50": 0.6048279947720715,
    "recall_100": 0.6743978590544157,
    "mean_recall_100": 0.678316612847081,
}


def test_figures_equal_the_recorded_ones(oi_dev: OpenImagesCase) -> None:
    assert figures(run(oi_dev, np.arange(1000), 128)) == pytest.approx(RECORDED, abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 60])
def test_batches_order_and_repetitions_do_not_matter(oi_dev: OpenImagesCase, batch_size: int) -> None:
    expected = run(oi_dev, np.arange(60))
    order = np.random.default_rng(batch_size).permutation(60)
    shuffled = run(oi_dev, np.append(order, order[:7]), batch_size)
    assert figures(shuffled) == figures(expected)
    for key, values in expected.per_class().items():
        np.testing.assert_array_equal(shuffled.per_class()[key], values)


def chosen_in_turn(table: np.ndarray) -> list[bool]:
    free, found = np.ones(table.shape[1], bool), []
    for row in np.where(table >= 0.5, table, 0):
        values = np.where(free, row, 0)
        found.append(bool(values.max() > 0))
        free[values.argmax()] &= not found[-1]
    return found


def test_greedy_matching_equals_choosing_in_turn() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        table = np.round(generator.random((9, 6)), 1)  # with ties
        rows, columns = np.nonzero(table >= 0.5)
        order = generator.permutation(len(rows))
        rows, columns = rows[order], columns[order]
        assert greedy_matching(rows, columns, table[rows, columns], 9).tolist() == chosen_in_turn(table)


LEFT, RIGHT, NOWHERE = [0.0, 0.0, 100.0, 100.0], [100.0, 0.0, 200.0, 100.0], [900.0, 900.0, 950.0, 950.0]
PAIR: Pair = (0, LEFT, 1, RIGHT)
MISS: Pair = (0, NOWHERE, 1, NOWHERE)
LABEL = [(0, LEFT), (1, RIGHT)]


def small(**options: object) -> TripletMAP:
    return TripletMAP(**{"num_objects": 3, "num_relations": 2} | options)


def evaluated(images: list[tuple[PairPredictions, Annotation]], **options: object) -> dict[str, float]:
    metric = small(**options)
    metric.update([image[0] for image in images], [image[1] for image in images])
    return figures(metric)


def test_a_perfect_detection_has_all_figures_at_one() -> None:
    values = evaluated([(scene([PAIR], [[0.9, 0]]), annotation(1, LABEL, [(0, 1, 0)]))])
    assert values.keys() == {
        *("map_triplet", "map_relation", "recall_20", "recall_50", "recall_100"),
        *("mean_recall_20", "mean_recall_50", "mean_recall_100"),
    }
    assert set(values.values()) == {1.0}


@pytest.mark.parametrize("pair", [(2, LEFT, 1, RIGHT), (0, LEFT, 2, RIGHT), (0, RIGHT, 1, LEFT)])
def test_both_classes_and_both_boxes_must_match(pair: Pair) -> None:
    values = evaluated([(scene([pair], [[0.9, 0]]), annotation(1, LABEL, [(0, 1, 0)]))])
    assert set(values.values()) == {0.0}


def test_the_relation_must_match() -> None:
    values = evaluated([(scene([PAIR], [[0.9, -1]]), annotation(1, LABEL, [(0, 1, 1)]))], top_k=1, recall_at=[1])
    assert values["recall_1"] == 0


@pytest.mark.parametrize(
    ("height", "convention", "recall"),
    [
        (50.0, "continuous", 1),
        (49.9, "continuous", 0),
        (49.9, "pixel", 1),  # 50.9 of 101 rows
        (49.4, "pixel", 0),
    ],
)
def test_an_overlap_of_exactly_one_half_is_enough(height: float, convention: str, recall: int) -> None:
    image = (scene([(0, [0.0, 0.0, 100.0, height], 1, RIGHT)], [[0.9, 0]]), annotation(1, LABEL, [(0, 1, 0)]))
    assert evaluated([image], box_convention=convention)["recall_100"] == recall


def test_a_detection_whose_best_pair_is_taken_goes_for_the_next() -> None:
    nearly = [0.0, 0.0, 100.0, 90.0]
    label = annotation(1, [(0, LEFT), (0, nearly), (1, RIGHT)], [(0, 2, 0), (1, 2, 0)])
    values = evaluated([(scene([PAIR, PAIR], [[0.9, 0], [0.8, 0]]), label)])
    assert values["map_triplet"] == values["recall_100"] == 1


def test_matching_is_one_to_one() -> None:
    values = evaluated([(scene([PAIR, PAIR, MISS], [[0.9, 0], [0.8, 0], [0.7, 0]]), annotation(1, LABEL, [(0, 1, 0)]))])
    assert values["map_triplet"] == 1
    twice = annotation(1, LABEL, [(0, 1, 0), (0, 1, 0)])
    assert evaluated([(scene([PAIR], [[0.9, 0]]), twice)])["recall_100"] == 0.5


def test_average_precision_is_the_area_under_the_envelope() -> None:
    # miss, hit, hit of two labelled: the envelope is 2/3 everywhere
    images = [
        (scene([MISS], [[0.9, 0]]), annotation(1, LABEL[:1], [])),
        (scene([PAIR], [[0.8, 0]]), annotation(2, LABEL, [(0, 1, 0)])),
        (scene([PAIR], [[0.7, 0]]), annotation(3, LABEL, [(0, 1, 0)])),
    ]
    assert evaluated(images)["map_triplet"] == pytest.approx(2 / 3)


def test_means_over_triplets_and_over_relations_differ() -> None:
    boxes = [(0, LEFT), (1, RIGHT), (2, RIGHT)]
    images = [
        (scene([PAIR], [[0.9, 0.8]]), annotation(1, boxes, [(0, 1, 0), (0, 2, 0), (0, 1, 1)])),
    ]
    metric = small()
    metric.update([images[0][0]], [images[0][1]])
    values, arrays = figures(metric), metric.per_class()
    assert arrays["triplets"].tolist() == [[0, 0, 1], [0, 0, 2], [0, 1, 1]]
    assert arrays["triplet_ap"].tolist() == [1, 0, 1]
    assert arrays["relation_ap"].tolist() == [0.5, 1]
    assert arrays["relation_recall_20"].tolist() == [0.5, 1]
    assert values["map_triplet"] == values["recall_100"] == pytest.approx(2 / 3)
    assert values["map_relation"] == values["mean_recall_100"] == 0.75


def test_recall_counts_the_best_of_each_image() -> None:
    pairs: list[Pair] = [*[MISS] * 30, PAIR]
    image = (scene(pairs, [[0.9 - 0.01 * row, 0] for row in range(31)]), annotation(1, LABEL, [(0, 1, 0)]))
    values = evaluated([image])
    assert (values["recall_20"], values["recall_50"]) == (0, 1)
    assert evaluated([image], top_k=30, recall_at=(30,))["recall_30"] == 0


def test_listed_triplets_are_those_of_the_mean_only() -> None:
    boxes = [(0, LEFT), (1, RIGHT), (2, RIGHT)]
    image = (scene([PAIR], [[0.9, 0]]), annotation(1, boxes, [(0, 1, 0), (0, 2, 0)]))
    assert evaluated([image])["map_triplet"] == 0.5
    listed = np.array([[0, 0, 1], [2, 1, 2], [0, 0, 1]])
    metric = small(triplets=listed)
    metric.update([image[0]], [image[1]])
    assert metric.compute()["map_triplet"] == 1
    assert metric.compute()["recall_100"] == 0.5
    assert metric.per_class()["triplets"].tolist() == [[0, 0, 1], [2, 1, 2]]
    np.testing.assert_array_equal(metric.per_class()["triplet_ap"], [1, np.nan])


def test_no_image_gives_nan_and_keeps_the_names(oi_dev: OpenImagesCase) -> None:
    metric = small()
    metric.update([], [])
    assert all(np.isnan(value) for value in figures(metric).values())
    assert figures(metric).keys() == figures(run(oi_dev, np.arange(2))).keys()


@pytest.mark.parametrize("score", [0.0, -0.5])
def test_scores_of_0_or_below_are_no_detections(score: float) -> None:
    image = (scene([PAIR], [[score, score]]), annotation(1, LABEL, [(0, 1, 0)]))
    assert set(evaluated([image]).values()) == {0.0}
    higher = (scene([PAIR, PAIR], [[0.1, score], [score, score]]), annotation(1, LABEL, [(0, 1, 0)]))
    assert set(evaluated([higher]).values()) == {1.0}


def test_all_triplets_of_an_image_can_count(
    oi_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs: list[Pair] = [*[MISS] * 120, PAIR]
    image = (scene(pairs, [[0.9 - 0.001 * row, 0] for row in range(121)]), annotation(1, LABEL, [(0, 1, 0)]))
    assert evaluated([image])["map_triplet"] == 0
    assert evaluated([image], top_k=None, recall_at=[200])["recall_200"] == 1
    found = {}
    for count in ("100", "all"):
        arguments = ["--predictions", oi_files[0], "--ground-truth", oi_files[1], "--json", tmp_path / "out.json"]
        main(["triplets", *map(str, arguments), "--top-k", count])
        found[count] = json.loads((tmp_path / "out.json").read_text())
    assert found["all"]["settings"]["top_k"] is None
    assert found["all"]["recall_100"] == found["100"]["recall_100"]
    assert found["all"]["map_triplet"] > found["100"]["map_triplet"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k=0"),
        ({"recall_at": (20, 200)}, r"recall_at=\[20, 200\]: expected numbers from 1 to top_k=100"),
        ({"recall_at": (0,)}, "recall_at"),
        ({"match_threshold": 0.0}, "match_threshold=0.0"),
        ({"box_convention": "voc"}, "box_convention='voc'"),
        ({"triplets": np.array([[0, 2, 0]])}, r"triplets\[0\]"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_files_give_the_figures_of_the_metric(
    oi_dev: OpenImagesCase, oi_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--predictions", oi_files[0], "--ground-truth", oi_files[1], "--json", tmp_path / "out.json"]
    main(["triplets", *map(str, arguments), "--per-class", str(tmp_path / "classes.npz")])
    found = json.loads((tmp_path / "out.json").read_text())
    assert {key: found[key] for key in RECORDED} == pytest.approx(RECORDED, abs=1e-6)
    assert (found["labelled_pairs"], found["triplet_classes"]) == (3363, 599)
    assert f"map_triplet{100 * RECORDED['map_triplet']:13.2f}" in capsys.readouterr().out
    with np.load(tmp_path / "classes.npz") as arrays:
        assert arrays["triplet_ap"].mean() == pytest.approx(RECORDED["map_triplet"], abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top-k", "0"], "expected a number from 1, or `all`"),
        (["--top-k", "10"], "--recall-at=[20, 50, 100]: expected numbers from 1 to --top-k=10; change --recall-at too"),
        (["--recall-at", "500"], "--recall-at=[500]"),
        (["--top-k", "all", "--recall-at", "0"], "--recall-at=[0]: expected numbers from 1; change"),
    ],
)
def test_bad_options_of_the_command_are_refused(
    oi_files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["triplets", "--predictions", str(oi_files[0]), "--ground-truth", str(oi_files[1]), *options])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
