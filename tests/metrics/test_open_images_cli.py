"""`python -m rlipv2.metrics open_images` on files of every kind, good and bad."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rlipv2.metrics.__main__ import main
from rlipv2.metrics.files import EvaluationFileError
from rlipv2.metrics.open_images.files import evaluate
from rlipv2.metrics.open_images.protocol import OpenImagesProtocol
from rlipv2.metrics.pair_files import PairPredictionFile
from rlipv2.metrics.scene_graph_files import SceneGraphFile
from tests.metrics.oi_cases import OpenImagesCase

Files = tuple[Path, Path]
PROTOCOLS = ["official_nms", "official_no_nms", "corrected_phrase_index_nms", "open_images_protocol"]
ROOT = Path(__file__).parents[2]


def run(predictions: Path, truth: Path, *options: str | Path) -> None:
    main(["open_images", "--predictions", str(predictions), "--ground-truth", str(truth), *map(str, options)])


def refused(capsys: pytest.CaptureFixture[str], predictions: Path, truth: Path, *options: str | Path) -> str:
    """The error message of a run that must fail with status 2 and print nothing else."""
    with pytest.raises(SystemExit) as stop:
        run(predictions, truth, *options)
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    return err


def test_the_json_file_holds_every_recorded_figure(oi_dev: OpenImagesCase, oi_files: Files, tmp_path: Path) -> None:
    run(*oi_files, "--json", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    for name in PROTOCOLS:
        expected = dict(oi_dev.expected[name])
        counts = expected.pop("counts", {})
        assert {key: found[name]["counts"][key] for key in counts} == counts
        assert {key: found[name][key] for key in expected} == pytest.approx(expected, abs=1e-6)
        assert found[name].keys() - {"counts"} == expected.keys()
    inputs = oi_dev.expected["input"]
    assert {key: found[key] for key in ("images", "gt_relations", "triplet_kinds")} == {
        key: inputs[key] for key in ("images", "gt_relations", "triplet_kinds")
    }
    assert found["nms_settings"] == oi_dev.expected["nms_settings"]
    assert os.listdir(tmp_path) == ["out.json"]


def test_the_table_names_both_protocols(oi_files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    run(*oi_files)
    lines = {line[:42].strip(): line[42:].split() for line in capsys.readouterr().out.splitlines()}
    assert lines["official RLIPv2, NMS"] == ["60.42", "46.97", "45.73", "49.17"]
    assert lines["official RLIPv2, NMS, phrases corrected"] == ["60.42", "46.97", "49.57", "50.70"]
    assert lines["literature (PySGG), per relation"] == ["53.79", "20.06", "20.86", "27.13"]


@pytest.fixture(scope="module")
def few(oi_dev: OpenImagesCase, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The first 60 images."""
    folder = tmp_path_factory.mktemp("few")
    np.savez(folder / "predictions.npz", **few_predictions(oi_dev))
    np.savez(folder / "ground_truth.npz", **few_truth(oi_dev))
    return folder / "predictions.npz", folder / "ground_truth.npz"


def few_predictions(oi_dev: OpenImagesCase) -> dict[str, np.ndarray]:
    return {key: values[:60] for key, values in oi_dev.prediction_arrays.items()}


def few_truth(oi_dev: OpenImagesCase) -> dict[str, np.ndarray]:
    truth = oi_dev.truth
    ends = {"boxes": truth["box_ptr"][60], "labels": truth["box_ptr"][60], "rels": truth["rel_ptr"][60]}
    lengths = {"id": 60, "size": 60, "box_ptr": 61, "rel_ptr": 61} | ends
    return {key: values[: lengths[key]] for key, values in truth.items()}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], PROTOCOLS),
        (["--protocol", "official_no_nms"], PROTOCOLS[1::2]),
        (["--protocol", "open_images_protocol"], PROTOCOLS[::3]),
        (["--protocol", "official_nms", "--protocol", "corrected_phrase_index_nms"], PROTOCOLS[::2] + PROTOCOLS[3:]),
        (["--no-nms"], PROTOCOLS[1::2]),
        (["--nms", "--phrase-index-bug"], PROTOCOLS[::3]),
        (["--no-phrase-index-bug"], PROTOCOLS[2:]),
    ],
)
def test_protocols_can_be_chosen_and_the_other_family_is_always_told(
    few: Files, tmp_path: Path, options: list[str], names: list[str]
) -> None:
    run(*few, *options, "--json", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert sorted(found.keys() & set(PROTOCOLS)) == sorted(names)


def test_contradictions_are_refused(few: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert "contradict" in refused(capsys, *few, "--no-nms", "--no-phrase-index-bug")
    assert "invalid choice" in refused(capsys, *few, "--protocol", "pysgg")


def test_thresholds_are_options(few: Files, tmp_path: Path) -> None:
    for name, options in (("plain", []), ("other", ["--nms-threshold", "0.3", "--phrase-nms-threshold", "0.9"])):
        run(*few, *options, "--json", tmp_path / name)
    plain, other = (json.loads((tmp_path / name).read_text()) for name in ("plain", "other"))
    assert other["nms_settings"] == {"threshold": 0.3, "alpha": 1.0, "beta": 0.5, "phrase_threshold": 0.9}
    assert other["official_nms"]["counts"] != plain["official_nms"]["counts"]
    assert other["official_no_nms"] == plain["official_no_nms"]


def test_arrays_over_the_classes(oi_dev: OpenImagesCase, oi_files: Files, tmp_path: Path) -> None:
    run(*oi_files, "--per-class", tmp_path / "classes.npz")
    with np.load(tmp_path / "classes.npz") as arrays:
        labelled, ap = arrays["num_labelled"], arrays["official_nms_phr_100_ap"]
        assert arrays["triplets"].shape == (599, 3)
        expected = oi_dev.expected["official_nms"]["wmAP@100 (PhrD)"]
        assert np.sum(labelled * ap) / np.sum(labelled) == pytest.approx(expected, abs=1e-9)
        expected = oi_dev.expected["open_images_protocol"]["mAP_rel"]
        assert np.mean(arrays["pysgg_rel_ap"]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("step", [1, 7, 60, 1000])
def test_the_size_of_runs_does_not_matter(few: Files, step: int) -> None:
    labels = SceneGraphFile.from_npz(few[1])
    results = []
    for size in (step, 32):
        with PairPredictionFile(few[0], labels.image_ids, labels.path) as predictions:
            result = evaluate(predictions, labels, [OpenImagesProtocol()], step=size)
        results.append(result.official[0].values() | result.literature.values())
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: {key: value[::-1] for key, value in arrays.items()},
        lambda arrays: arrays | {"labels": arrays["labels"].astype(np.int16)},
        lambda arrays: arrays | {"verb_scores": arrays["verb_scores"].astype(np.float64)},
    ],
    ids=["images reversed", "small integers", "double precision"],
)
def test_the_same_predictions_in_other_forms_give_the_same(
    oi_dev: OpenImagesCase, few: Files, tmp_path: Path, change: Callable[[dict], dict]
) -> None:
    np.savez_compressed(tmp_path / "p.npz", **change(few_predictions(oi_dev)))
    run(*few, "--json", tmp_path / "expected")
    run(tmp_path / "p.npz", few[1], "--json", tmp_path / "found")
    expected, found = (json.loads((tmp_path / name).read_text()) for name in ("expected", "found"))
    assert {name: found[name] for name in PROTOCOLS} == {name: expected[name] for name in PROTOCOLS}


def test_predicted_boxes_may_be_empty_and_end_early_by_rounding(
    oi_dev: OpenImagesCase, few: Files, tmp_path: Path
) -> None:
    arrays = few_predictions(oi_dev)
    boxes = with_value(arrays["boxes"], (0, 0), [30, 40, 30, 39.9995])
    np.savez(tmp_path / "p.npz", **arrays | {"boxes": boxes})
    run(tmp_path / "p.npz", few[1])


@pytest.mark.parametrize("protocol", ["open_images", "triplets"])
def test_boxes_within_0_to_1_are_told(
    oi_dev: OpenImagesCase, few: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: str
) -> None:
    for name, arrays in (("p.npz", few_predictions(oi_dev)), ("g.npz", few_truth(oi_dev))):
        np.savez(tmp_path / name, **arrays | {"boxes": arrays["boxes"] / arrays["boxes"].max()})
    for predictions, truth in ((tmp_path / "p.npz", few[1]), (few[0], tmp_path / "g.npz"), few):
        main([protocol, "--predictions", str(predictions), "--ground-truth", str(truth)])
        notes = [line.split(" (largest")[0] for line in capsys.readouterr().err.splitlines()]
        scaled = [path for path in (predictions, truth) if path.parent == tmp_path]
        assert notes == [f"note: {path}: boxes lie within 0..1" for path in scaled]


@pytest.mark.parametrize(
    ("protocol", "option"),
    [
        *itertools.product(["hico", "vcoco", "open_images", "triplets"], ["--json", "--per-class"]),
        ("coco", "--json"),
    ],
)
def test_no_output_overwrites_an_input(
    few: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: str, option: str
) -> None:
    """By whatever name: here through a link to the folder."""
    (tmp_path / "link").symlink_to(few[0].parent)
    for path in few:
        content = path.read_bytes()
        output = tmp_path / "link" / path.name
        with pytest.raises(SystemExit) as stop:
            main([protocol, "--predictions", str(few[0]), "--ground-truth", str(few[1]), option, str(output)])
        assert stop.value.code == 2
        assert f"{output}: is an input of this command and would be overwritten" in capsys.readouterr().err
        assert path.read_bytes() == content


def test_one_file_cannot_take_both_outputs(few: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    assert "another output" in refused(capsys, *few, "--json", output, "--per-class", output)
    assert not output.exists()


def with_value(array: np.ndarray, place: tuple[int, ...], value: float | list[float]) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array


BAD_TRUTH: dict[str, tuple[Callable[[dict], dict], str]] = {
    "missing array": (lambda a: {"rel_ptr": None}, "no array 'rel_ptr'"),
    "wrong type": (lambda a: {"rels": a["rels"].astype(float)}, "rels: type float64; expected whole numbers"),
    "offsets missing": (lambda a: {k: a[k][:-1] for k in ("box_ptr", "rel_ptr")}, "60 offsets for 60 images"),
    "offsets descend": (lambda a: {"rel_ptr": with_value(a["rel_ptr"], (3,), 900)}, "rel_ptr: offsets must ascend"),
    "image twice": (lambda a: {"id": with_value(a["id"], (3,), 1)}, "record 3 (image 1): id=1: the image is listed"),
    "negative class": (lambda a: {"labels": with_value(a["labels"], (0,), -1)}, "record 1 (image 1): labels=-1"),
    "NaN box": (lambda a: {"boxes": with_value(a["boxes"], (0, 2), np.nan)}, "record 1 (image 1): boxes=["),
    "inverted box": (
        lambda a: {"boxes": with_value(a["boxes"], (0, 2), -1)},
        "expected x1 y1 x2 y2 with x2 >= x1 and y2 >= y1; is this x, y, w, h?",
    ),
    "box of another image": (lambda a: {"rels": with_value(a["rels"], (0, 1), 90)}, "record 1 (image 1): rels=["),
    "relation without scores": (
        lambda a: {"rels": with_value(a["rels"], (0, 2), 30)},
        "scores 30 relations, 0 to 29; evaluate predictions of the same relations",
    ),
    "negative relation": (lambda a: {"rels": with_value(a["rels"], (0, 2), -1)}, "must not be negative"),
}


@pytest.mark.parametrize(("change", "message"), BAD_TRUTH.values(), ids=BAD_TRUTH)
def test_bad_ground_truth_is_refused(
    oi_dev: OpenImagesCase,
    few: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict], dict],
    message: str,
) -> None:
    arrays = few_truth(oi_dev) | change(few_truth(oi_dev))
    np.savez(tmp_path / "bad.npz", **{key: value for key, value in arrays.items() if value is not None})
    error = refused(capsys, few[0], tmp_path / "bad.npz", "--json", tmp_path / "out.json")
    assert f"{tmp_path / 'bad.npz'}: " in error
    assert message in error
    assert os.listdir(tmp_path) == ["bad.npz"]


BAD_PREDICTIONS: dict[str, tuple[Callable[[dict], dict], str]] = {
    "missing array": (lambda a: {"labels": None}, "no array 'labels'"),
    "NaN score": (
        lambda a: {"verb_scores": with_value(a["verb_scores"], (40, 3, 5), np.nan)},
        "record 40 (image 40): verb_scores[3, 5]=nan",
    ),
    "inverted box": (
        lambda a: {"boxes": with_value(a["boxes"], (7, 4), [30, 40, 20, 50])},
        "record 7 (image 7): boxes[4]=[30.0, 40.0, 20.0, 50.0]: expected x1 y1 x2 y2 with x2 >= x1 and y2 >= y1; is",
    ),
    "negative class": (lambda a: {"labels": with_value(a["labels"], (7, 4), -1)}, "record 7 (image 7): labels[4]=-1"),
    "unknown image": (lambda a: {"image_id": with_value(a["image_id"], (5,), 777)}, "record 5 (image 777)"),
    "pair outside": (lambda a: {"obj_ids": with_value(a["obj_ids"], (0, 7), 200)}, "obj_ids[7]=200: expected 0 to 199"),
}


@pytest.mark.parametrize(("change", "message"), BAD_PREDICTIONS.values(), ids=BAD_PREDICTIONS)
def test_bad_predictions_are_refused(
    oi_dev: OpenImagesCase,
    few: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict], dict],
    message: str,
) -> None:
    arrays = few_predictions(oi_dev) | change(few_predictions(oi_dev))
    np.savez(tmp_path / "bad.npz", **{key: value for key, value in arrays.items() if value is not None})
    error = refused(capsys, tmp_path / "bad.npz", few[1])
    assert f"{tmp_path / 'bad.npz'}: " in error
    assert message in error


def test_a_ground_truth_without_images_is_refused(few: Files, tmp_path: Path) -> None:
    with np.load(few[1]) as arrays:
        empty = {key: values[:1] if key.endswith("_ptr") else values[:0] for key, values in arrays.items()}
    np.savez(tmp_path / "empty.npz", **empty)
    with pytest.raises(EvaluationFileError, match="holds no image"):
        SceneGraphFile.from_npz(tmp_path / "empty.npz")


@pytest.mark.parametrize("protocol", ["open_images", "triplets"])
def test_evaluating_files_does_not_import_torch(few: Files, protocol: str) -> None:
    """It would take longer than the evaluation."""
    code = (
        "import sys; from rlipv2.metrics.__main__ import main; main(sys.argv[1:]); "
        "sys.exit(bool({'torch', 'torchmetrics'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, protocol, "--predictions", few[0], "--ground-truth", few[1]]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
