"""`python -m rlipv2.metrics vcoco` on files of every kind, good and bad."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlipv2.metrics.__main__ import main
from rlipv2.metrics.vcoco.tables import VerbTable
from rlipv2.metrics.vcoco.truth import VCOCOGroundTruth
from tests.fakes_vcoco import write_vcoco
from tests.metrics.vcoco_cases import DevCase

ROOT = Path(__file__).parents[2]
Files = tuple[Path, Path]


def run(predictions: Path, truth: Path, *options: str | Path) -> None:
    main(["vcoco", "--predictions", str(predictions), "--ground-truth", str(truth), *map(str, options)])


def figures(predictions: Path, truth: Path, folder: Path, *options: str | Path) -> dict[str, Any]:
    """The JSON file of a run."""
    run(predictions, truth, "--json", folder / "out.json", *options)
    return json.loads((folder / "out.json").read_text())


def refused(capsys: pytest.CaptureFixture[str], predictions: Path, truth: Path, *options: str | Path) -> str:
    """The error message of a run that must fail with status 2 and print nothing else."""
    with pytest.raises(SystemExit) as stop:
        run(predictions, truth, *options)
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    return err


def save(path: Path, arrays: dict[str, np.ndarray], **changes: np.ndarray | None) -> Path:
    """Writes a changed file; None leaves an array out."""
    np.savez(path, **{key: value for key, value in (arrays | changes).items() if value is not None})
    return path


def assert_close(found: Any, expected: Any, place: str = "") -> None:
    """Equal names and counts, figures within 1e-6."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), place
        for key in expected:
            assert_close(found[key], expected[key], f"{place}/{key}")
    else:
        assert found == (pytest.approx(expected, abs=1e-6) if isinstance(expected, float) else expected), place


ROLE = ("positives", "agent_ap", "agent_mean_26", "role_ap", "role_mean")
IN_TRAINING = ("in_training", "in_training_n_gt")


def test_the_json_file_holds_the_official_figures(vcoco_dev: DevCase, vcoco_files: Files, tmp_path: Path) -> None:
    found = figures(*vcoco_files, tmp_path)
    for key in (*ROLE, *IN_TRAINING):
        assert_close(found[key], vcoco_dev.expected[key], key)
    assert (found["images"], found["validity"], found["pairs_skipped"]) == (399, "none", 39900 - 37262)
    assert found["settings"]["unannotated"] == "skip"
    assert "without `point`" in found["protocols"]["role"]
    assert "not the published figure" in found["protocols"]["in_training"]
    assert os.listdir(tmp_path) == ["out.json"]


@pytest.mark.parametrize(
    ("protocol", "there", "gone"), [("role", ROLE, IN_TRAINING), ("in_training", IN_TRAINING, ROLE)]
)
def test_a_protocol_can_be_chosen(
    few_files: Files, tmp_path: Path, protocol: str, there: tuple[str, ...], gone: tuple[str, ...]
) -> None:
    found = figures(*few_files, tmp_path, "--protocol", protocol)
    assert list(found["protocols"]) == [protocol]
    assert found.keys() >= set(there)
    assert not found.keys() & set(gone)


def test_the_table_names_the_figures(vcoco_files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    run(*vcoco_files)
    lines = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert "AP_role, published: 24 roles without `point` 20.163 24.237" in lines
    assert "mean of all 25 roles 19.391 23.488" in lines
    assert "agent AP, 26 actions (no scenario) 29.056" in lines
    assert "not comparable with AP_role 25.694 25.145" in lines


def test_per_class_arrays_have_their_names_with_them(vcoco_dev: DevCase, vcoco_files: Files, tmp_path: Path) -> None:
    run(*vcoco_files, "--per-class", tmp_path / "classes.npz")
    with np.load(tmp_path / "classes.npz", allow_pickle=False) as arrays:
        row = arrays["slots"].tolist().index("cut_obj")
        assert arrays["scenario_1_ap"][row] == pytest.approx(
            vcoco_dev.expected["role_ap"]["scenario_1"]["cut_obj"]["ap"], abs=1e-6
        )
        assert arrays["in_training_n_gt"].shape == arrays["verbs"].shape == (29,)


def test_masks_change_the_figures(few_files: Files, tmp_path: Path) -> None:
    plain = figures(*few_files, tmp_path)
    np.save(tmp_path / "ones.npy", np.ones((29, 80)))
    assert figures(*few_files, tmp_path, "--validity", tmp_path / "ones.npy")["role_ap"] == plain["role_ap"]
    trainval = figures(*few_files, tmp_path, "--validity", "trainval")
    assert trainval["validity"] == "trainval"
    assert trainval["role_mean"] != plain["role_mean"]
    assert trainval["positives"] == plain["positives"]


@pytest.mark.parametrize(
    "option",
    ["--unannotated=count", "--missing-role=box", "--box-convention=continuous", "--match-threshold=0.7", "--top-k=50"],
)
def test_options_change_the_figures_and_are_told(few_files: Files, tmp_path: Path, option: str) -> None:
    plain, found = figures(*few_files, tmp_path), figures(*few_files, tmp_path, option)
    name, value = option.removeprefix("--").replace("-", "_").split("=")
    assert str(found["settings"][name]) == value
    assert (found["role_mean"], found["in_training"]) != (plain["role_mean"], plain["in_training"])


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_size_of_chunks_does_not_matter(few_files: Files, step: int) -> None:
    from rlipv2.metrics.vcoco.cli import read_labels
    from rlipv2.metrics.vcoco.files import PredictionFile, evaluate
    from rlipv2.metrics.vcoco.protocol import VCOCOProtocol

    with PredictionFile(few_files[0], read_labels(few_files[1], "none", VCOCOProtocol())) as predictions:
        one, other = (evaluate(predictions, VCOCOProtocol(), step=size) for size in (step, 64))
    np.testing.assert_array_equal(one.roles[1].ap, other.roles[1].ap)
    np.testing.assert_array_equal(one.in_training.ap, other.in_training.ap)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: {key: value[::-1] for key, value in arrays.items()},
        lambda arrays: {key: value.astype(value.dtype.newbyteorder(">")) for key, value in arrays.items()},
        lambda arrays: arrays | {"obj_labels": arrays["obj_labels"].astype(np.uint8)},
        lambda arrays: arrays | {"verb_scores": arrays["verb_scores"].astype(np.float64)},
        lambda arrays: (
            arrays
            | {"obj_boxes": np.where((arrays["obj_labels"] == 80)[..., None], np.float32(np.nan), arrays["obj_boxes"])}
        ),
    ],
    ids=["images reversed", "big-endian", "small integers", "double precision", "NaN boxes of missing objects"],
)
@pytest.mark.parametrize("writer", [np.savez, np.savez_compressed])
def test_the_same_predictions_in_other_forms_give_the_same(
    vcoco_few: DevCase, few_files: Files, tmp_path: Path, change: Callable[[dict], dict], writer: Callable[..., None]
) -> None:
    writer(tmp_path / "p.npz", **change(dict(vcoco_few.arrays)))
    found = figures(tmp_path / "p.npz", few_files[1], tmp_path)
    plain = figures(*few_files, tmp_path)
    assert_close(found["role_ap"], plain["role_ap"])
    assert_close(found["in_training"], plain["in_training"])


def test_compressed_files_are_told(
    vcoco_few: DevCase, few_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez_compressed(tmp_path / "small.npz", **vcoco_few.arrays)
    run(tmp_path / "small.npz", few_files[1])
    assert "cannot be memory-mapped" in capsys.readouterr().err


def test_actions_that_nobody_does_are_null_and_count_in_no_mean(
    vcoco_dev: DevCase, vcoco_files: Files, tmp_path: Path
) -> None:
    actions, roles = vcoco_dev.truth["actions"].copy(), vcoco_dev.truth["roles"]
    actions[:, 24] = 0
    truth = save(
        tmp_path / "truth.npz", vcoco_dev.truth, actions=actions, roles=np.where(actions[..., None] == 1, roles, -1)
    )
    found, plain = figures(vcoco_files[0], truth, tmp_path), vcoco_dev.expected
    assert found["positives"]["read"] == 0
    assert found["agent_ap"]["read"]["ap"] is found["role_ap"]["scenario_2"]["read_obj"]["ap"] is None
    assert "AP_read_obj" not in found["in_training"]
    means, read = plain["role_mean"]["scenario_1"], plain["role_ap"]["scenario_1"]["read_obj"]["ap"]
    assert found["role_mean"]["scenario_1"]["mean_25"] == pytest.approx((means["mean_25"] * 25 - read) / 24, abs=1e-6)


def test_boxes_within_0_to_1_are_told(
    vcoco_few: DevCase, few_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fractions = {name: vcoco_few.arrays[name] / 1000 for name in ("sub_boxes", "obj_boxes")}
    predictions = save(tmp_path / "p.npz", vcoco_few.arrays, **fractions)
    run(predictions, few_files[1])
    assert f"note: {predictions}: boxes lie within 0..1" in capsys.readouterr().err
    run(*few_files)
    assert capsys.readouterr().err == ""


def test_the_box_of_a_missing_object_may_be_anything(vcoco_few: DevCase, few_files: Files, tmp_path: Path) -> None:
    missing = (vcoco_few.arrays["obj_labels"] == 80)[..., None]
    assert missing.any()
    boxes = np.where(missing, np.float32([9, 9, 8, 8]), vcoco_few.arrays["obj_boxes"])
    found = figures(save(tmp_path / "p.npz", vcoco_few.arrays, obj_boxes=boxes), few_files[1], tmp_path)
    assert found["role_mean"] == figures(*few_files, tmp_path)["role_mean"]


def with_value(array: np.ndarray, place: tuple[int, ...], value: float | list[float]) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array


BAD_PREDICTIONS: dict[str, tuple[Callable[[dict], dict], str]] = {
    "missing array": (lambda a: {"obj_labels": None}, "no array 'obj_labels'"),
    "wrong type": (lambda a: {"obj_labels": a["obj_labels"] + 0.5}, "obj_labels: type float64; expected whole numbers"),
    "wrong shape": (lambda a: {"sub_boxes": a["sub_boxes"][..., :3]}, "sub_boxes: shape (40, 100, 3)"),
    "other vocabulary": (
        lambda a: {"verb_scores": a["verb_scores"][..., :26]},
        "verb_scores has 26 columns; expected 29, one per verb: hold_obj, stand",
    ),
    "image missing": (lambda a: {k: v[1:] for k, v in a.items()}, "no predictions for 1 of 40 images"),
    "image twice": (
        lambda a: {"image_id": with_value(a["image_id"], (2,), a["image_id"][0])},
        "record 2 (image 1): image_id=1: the image comes twice",
    ),
    "unknown image": (
        lambda a: {"image_id": with_value(a["image_id"], (2,), 100000)},
        "record 2 (image 100000): image_id=100000: no such image among the 40",
    ),
    "label out of range": (
        lambda a: {"obj_labels": with_value(a["obj_labels"], (30, 3), 81)},
        "obj_labels[3]=81: expected 0 to 80, the last one for a missing object; write the object class, or 80 where",
    ),
    "score not finite": (
        lambda a: {"verb_scores": with_value(a["verb_scores"], (30, 3, 5), np.nan)},
        "verb_scores[3, 5]=nan: expected a finite number",
    ),
    "inverted box of a person": (
        lambda a: {"sub_boxes": with_value(a["sub_boxes"], (30, 3), [9, 9, 9, 8])},
        "sub_boxes[3]=[9.0, 9.0, 9.0, 8.0]: expected x1 y1 x2 y2 with x2 >= x1 and y2 >= y1; is this x, y, w, h?",
    ),
    "inverted box of an object": (
        lambda a: {
            "obj_boxes": with_value(a["obj_boxes"], (30, 3), [9, 9, 8, 9]),
            "obj_labels": with_value(a["obj_labels"], (30, 3), 0),
        },
        "obj_boxes[3]=[9.0, 9.0, 8.0, 9.0]: expected x1 y1 x2 y2",
    ),
    "NaN box of an object that is there": (
        lambda a: {
            "obj_boxes": a["obj_boxes"] * np.float32(np.nan),
            "obj_labels": a["obj_labels"] * 0,
        },
        "record 0 (image 1): obj_boxes[0, 0]=nan",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD_PREDICTIONS.values(), ids=BAD_PREDICTIONS)
def test_bad_predictions_are_refused(
    vcoco_few: DevCase,
    few_files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict], dict],
    message: str,
) -> None:
    predictions = save(tmp_path / "bad.npz", vcoco_few.arrays, **change(vcoco_few.arrays))
    error = refused(capsys, predictions, few_files[1], "--json", tmp_path / "out.json")
    assert f"{predictions}: " in error
    assert message in error
    assert os.listdir(tmp_path) == ["bad.npz"]


BAD_TRUTH: dict[str, tuple[Callable[[dict], dict], str]] = {
    "missing array": (lambda a: {"person": None}, "no array 'person'"),
    "other vocabulary": (lambda a: {"actions": a["actions"][:, :9]}, "actions: int64 of shape (836, 9); expected"),
    "image twice": (
        lambda a: {"id": with_value(a["id"], (3,), 1)},
        "record 3 (image 1): id=1: the image is listed twice",
    ),
    "negative width": (
        lambda a: {"bbox": with_value(a["bbox"], (0, 2), -3)},
        "width or height is negative; write x, y, w, h",
    ),
    "unknown category": (
        lambda a: {"category_id": with_value(a["category_id"], (0,), 12)},
        "record 0 (image 1): category_id=12: none of the 80 categories",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD_TRUTH.values(), ids=BAD_TRUTH)
def test_bad_ground_truth_is_refused(
    vcoco_few: DevCase,
    few_files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict], dict],
    message: str,
) -> None:
    truth = save(tmp_path / "bad.npz", vcoco_few.truth, **change(vcoco_few.truth))
    error = refused(capsys, few_files[0], truth)
    assert f"{truth}: " in error
    assert message in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--protocol", "matlab"], "invalid choice: 'matlab'"),
        (["--unannotated", "drop"], "invalid choice: 'drop'"),
        (["--match-threshold", "0"], "match-threshold=0.0: expected more than 0"),
        (["--top-k", "0"], "expected a number from 1"),
        (["--validity", "dataset"], "--validity dataset: needs the folder"),
        (["--validity", "no/such/file.npy"], "no/such/file.npy: cannot be read"),
        (["--json", "no/such/folder/out.json"], "give a file in a folder that exists"),
    ],
)
def test_bad_options_are_refused(
    few_files: Files, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert message in refused(capsys, *few_files, *options)


def test_the_folder_of_the_dataset_is_ground_truth(tmp_path: Path) -> None:
    """A detector that predicts every labelled (person, object, verb) with a score of 1 is right in all of them."""
    from rlipv2.datasets.vcoco import read_metric_arguments

    root = write_vcoco(tmp_path)
    arguments = read_metric_arguments(root, "test")
    table = VerbTable.create(arguments["actions"], arguments["verbs"])
    truth = VCOCOGroundTruth.create(arguments["ground_truth"], table, category_ids=arguments["category_ids"])
    count, pairs = len(truth), truth.pairs
    boxes, labels = np.zeros((2, count, 40, 4), np.float32), np.full((count, 40), 80)
    scores = np.zeros((count, 40, 29), np.float32)
    for image in range(count):
        first, rows = pairs.box_ptr[image], slice(*pairs.relation_ptr[image : image + 2])
        for row, (subject, target, verb) in enumerate(pairs.relations[rows]):
            boxes[0, image, row], scores[image, row, verb] = pairs.boxes[first + subject], 1
            if target >= 0:
                boxes[1, image, row], labels[image, row] = pairs.boxes[first + target], pairs.labels[first + target]
    arrays = {"image_id": truth.image_ids, "sub_boxes": boxes[0], "obj_boxes": boxes[1]}
    predictions = save(tmp_path / "p.npz", arrays, obj_labels=labels, verb_scores=scores)
    found = figures(predictions, root, tmp_path, "--validity", "none")
    assert found["images"] == count > 1
    assert found["role_mean"]["scenario_1"]["mean_25"] == found["agent_mean_26"] == 1
    assert found["in_training"]["mAP_all"] == pytest.approx(1)
    masked = figures(predictions, root, tmp_path, "--validity", "dataset")
    assert masked["validity"] == "dataset"


def test_a_folder_without_annotations_is_refused(
    few_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert str(tmp_path) in refused(capsys, few_files[0], tmp_path)


def test_a_mask_of_another_vocabulary_is_refused(
    few_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "mask.npy", np.ones((117, 80)))
    error = refused(capsys, *few_files, "--validity", tmp_path / "mask.npy")
    assert f"{tmp_path / 'mask.npy'}: validity: shape (117, 80); expected (29, 80)" in error


def test_files_that_are_no_archives_are_refused(
    few_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.npz"
    path.write_text("scores")
    assert f"{path}: no .npz archive" in refused(capsys, path, few_files[1])
    assert f"{path}: no .npz archive" in refused(capsys, few_files[0], path)


def test_evaluating_npz_files_does_not_import_torch(few_files: Files) -> None:
    """It would take longer than the evaluation."""
    code = (
        "import sys; from rlipv2.metrics.__main__ import main; main(sys.argv[1:]); "
        "sys.exit(bool({'torch', 'torchmetrics'} & set(sys.modules)))"
    )
    options = ["vcoco", "--predictions", few_files[0], "--ground-truth", few_files[1]]
    done = subprocess.run([sys.executable, "-c", code, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
