"""`python -m rlipv2.metrics hico` on files of every kind, good and bad."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rlipv2.metrics.__main__ import main
from tests.fakes import hico_scenes, write_hico
from tests.metrics.hico_cases import VOCABULARY, SynthCase

ROOT = Path(__file__).parents[2]
Files = tuple[Path, Path]


def run(predictions: Path, truth: Path, *options: str | Path) -> None:
    main(["hico", "--predictions", str(predictions), "--ground-truth", str(truth), *map(str, options)])


def refused(capsys: pytest.CaptureFixture[str], predictions: Path, truth: Path, *options: str | Path) -> str:
    """The error message of a run that must fail with status 2 and print nothing else."""
    with pytest.raises(SystemExit) as stop:
        run(predictions, truth, *options)
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    return err


@pytest.mark.parametrize("nms", [True, False])
def test_the_json_file_holds_the_official_figures(
    synth: SynthCase, synth_files: Files, tmp_path: Path, nms: bool
) -> None:
    splits = ["uc_rf", "uc_nf", "uo"]
    options = [option for split in splits for option in ("--split", split)]
    run(*synth_files, "--nms" if nms else "--no-nms", *options, "--json", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    expected = synth.expected["official"]["nms" if nms else "no_nms"]
    counts = ["classes_with_gt", "gt_pairs", "detections_counted", "true_positives", "detections_after_filter"]
    assert {key: found[key] for key in counts} == {key: expected[key] for key in counts}
    for key in ("mAP", "mAP rare", "mAP non-rare", "mean max recall"):
        assert found[key] == pytest.approx(expected[key], abs=1e-6)
    for split in splits:
        assert found[split] == pytest.approx(expected[split], abs=1e-6)
    assert found["nms_settings"] == (synth.expected["nms_settings"] if nms else None)
    assert os.listdir(tmp_path) == ["out.json"]


def test_the_table_shows_the_figures_in_per_cent(synth_files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    run(*synth_files)
    out = capsys.readouterr().out
    assert "official Python" in out
    assert "44.067" in out


def test_per_class_arrays_are_the_official_ones(synth: SynthCase, synth_files: Files, tmp_path: Path) -> None:
    run(*synth_files, "--per-class", tmp_path / "classes.npz")
    with np.load(tmp_path / "classes.npz") as arrays:
        np.testing.assert_allclose(arrays["rlipv2_ap"], synth.expected_arrays["ap_nms"], atol=1e-6)
        np.testing.assert_array_equal(arrays["n_gt"], synth.expected_arrays["n_gt"])


def test_protocol_matlab_changes_places_with_python(synth_files: Files, tmp_path: Path) -> None:
    for protocol in ("python", "matlab"):
        run(*synth_files, "--protocol", protocol, "--json", tmp_path / protocol)
    python, matlab = (json.loads((tmp_path / name).read_text()) for name in ("python", "matlab"))
    assert matlab["mAP"] == python["matlab"]["mAP"]
    assert matlab["python"]["mAP"] == python["mAP"]
    assert matlab["detections_counted"] > python["detections_counted"]  # images without boxes


@pytest.mark.parametrize("step", [1, 50, 120, 1000])
def test_the_size_of_chunks_does_not_matter(synth_files: Files, step: int) -> None:
    from rlipv2.metrics.hico.files import GroundTruthFile, PredictionFile, evaluate
    from rlipv2.metrics.hico.protocol import HICOProtocol

    labels = GroundTruthFile.from_npz(synth_files[1])
    with PredictionFile(synth_files[0], labels) as predictions:
        results = [evaluate(predictions, labels, HICOProtocol(), step=size) for size in (step, 64)]
    for name, figures in results[0].figures.items():
        np.testing.assert_array_equal(figures.ap, results[1].figures[name].ap)


def save(path: Path, arrays: dict[str, np.ndarray], **changes: np.ndarray | None) -> Path:
    """Writes a changed file; None leaves an array out."""
    np.savez(path, **{key: value for key, value in (arrays | changes).items() if value is not None})
    return path


def official(synth: SynthCase, out: Path) -> bool:
    return json.loads(out.read_text())["mAP"] == pytest.approx(synth.expected["official"]["nms"]["mAP"], abs=1e-9)


def test_compressed_files_give_the_same_and_say_so(
    synth: SynthCase, synth_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez_compressed(tmp_path / "small.npz", **synth.prediction_arrays)
    run(tmp_path / "small.npz", synth_files[1], "--json", tmp_path / "out.json")
    assert "cannot be memory-mapped" in capsys.readouterr().err
    assert official(synth, tmp_path / "out.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: {key: value[::-1] for key, value in arrays.items()},
        lambda arrays: {key: value.astype(value.dtype.newbyteorder(">")) for key, value in arrays.items()},
        lambda arrays: (
            arrays | {"labels": arrays["labels"].astype(np.uint8), "sub_ids": arrays["sub_ids"].astype("i2")}
        ),
        lambda arrays: arrays | {"verb_scores": arrays["verb_scores"].astype(np.float64)},
        lambda arrays: arrays | {"something_else": np.zeros(3)},
    ],
    ids=["images reversed", "big-endian", "small integers", "double precision", "further array"],
)
def test_the_same_predictions_in_other_forms_give_the_same(
    synth: SynthCase, synth_files: Files, tmp_path: Path, change: Callable[[dict], dict]
) -> None:
    predictions = save(tmp_path / "predictions.npz", change(dict(synth.prediction_arrays)))
    run(predictions, synth_files[1], "--json", tmp_path / "out.json")
    assert official(synth, tmp_path / "out.json")


def test_pairs_without_a_person_do_not_count_and_are_told(
    synth: SynthCase, synth_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = save(tmp_path / "p.npz", synth.prediction_arrays, labels=synth.prediction_arrays["labels"] * 0 + 1)
    run(predictions, synth_files[1], "--json", tmp_path / "out.json")
    assert "12000 pairs do not count" in capsys.readouterr().err
    assert json.loads((tmp_path / "out.json").read_text())["detections_counted"] == 0


def test_labels_that_are_no_class_do_not_count_and_are_told(
    synth: SynthCase, synth_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = dict(synth.truth)
    image = 50
    row, box = truth["hoi_ptr"][image], truth["box_ptr"][image]
    assert truth["box_ptr"][image + 1] > box
    # One more pair at the head of an image: a subject that is no person.
    objects = np.flatnonzero(truth["box_labels"][box : truth["box_ptr"][image + 1]])
    truth["hois"] = np.insert(truth["hois"], row, [objects[0], objects[0], 0], axis=0)
    truth["hoi_ptr"] = truth["hoi_ptr"] + (np.arange(121) > image)
    run(synth_files[0], save(tmp_path / "truth.npz", truth), "--json", tmp_path / "out.json")
    err = capsys.readouterr().err
    number = synth.truth["file_id"][image]
    assert f"truth.npz: 1 of {len(truth['hois'])} labelled pairs do not count" in err
    assert f"the first is in record {image} (image {number})" in err
    assert official(synth, tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert (found["gt_pairs"], found["gt_pairs_ignored"]) == (len(synth.truth["hois"]), 1)


@pytest.mark.parametrize("kind", ["ppdm", "hicodet_json", "mat"])
def test_annotation_files_of_every_kind_are_ground_truth(tmp_path: Path, kind: str) -> None:
    """A perfect detector of the miniature dataset finds every pair."""
    scenes = hico_scenes("test", 4)
    folder = write_hico(tmp_path, kind=kind)
    vocabulary = json.loads(VOCABULARY.read_text())
    boxes, labels = np.zeros((4, 10, 4), np.float32), np.zeros((4, 10), np.int64)
    scores = np.zeros((4, 5, 117), np.float32)
    for image, scene in enumerate(scenes):
        for row, pair in enumerate(scene.pairs):
            boxes[image, [row, row + 5]] = np.array([pair.subject, pair.object]) + 1
            labels[image, row + 5] = vocabulary["hois"][pair.hoi][1]
            scores[image, row, vocabulary["hois"][pair.hoi][0]] = 0.9
    rows = np.tile(np.arange(10), (4, 1))
    ids = np.array([int(scene.file_name[-12:-4]) for scene in scenes])
    arrays = {"image_id": ids, "boxes": boxes, "labels": labels, "verb_scores": scores}
    predictions = save(tmp_path / "p.npz", arrays, sub_ids=rows[:, :5], obj_ids=rows[:, 5:])
    name = {"ppdm": "annotations/test_hico.json", "hicodet_json": "instances_test2015.json", "mat": "anno_bbox.mat"}
    run(predictions, folder / name[kind], "--split", "uv", "--json", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["gt_pairs"] == sum(len(scene.pairs) for scene in scenes)
    assert found["mAP"] == 1
    assert found["uv"]["full"] == 1


def test_an_annotation_file_that_cannot_be_read_is_refused(
    synth_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test_hico.json").write_text('[{"file_name": "HICO_test2015_00000001.jpg"}]')
    assert "test_hico.json: record 0" in refused(capsys, synth_files[0], tmp_path / "test_hico.json")
    assert "no.json" in refused(capsys, synth_files[0], tmp_path / "no.json")


def with_value(array: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array


BAD_PREDICTIONS: dict[str, tuple[Callable[[dict], dict], str]] = {
    "missing array": (lambda a: {"sub_ids": None}, "no array 'sub_ids'; expected"),
    "wrong shape": (lambda a: {"boxes": a["boxes"][..., :3]}, "boxes: shape (120, 200, 3); expected (n, m, 4)"),
    "wrong rank": (lambda a: {"image_id": a["image_id"][:, None]}, "image_id: shape (120, 1); expected (n)"),
    "lengths differ": (
        lambda a: {"labels": a["labels"][:100]},
        "(100, 200); expected (n, m) with n = 120",
    ),
    "pairs differ": (lambda a: {"obj_ids": a["obj_ids"][:, :9]}, "obj_ids: shape (120, 9); expected (n, q) with"),
    "float labels": (lambda a: {"labels": a["labels"].astype(float)}, "labels: type float64; expected whole numbers"),
    "integer scores": (
        lambda a: {"verb_scores": a["verb_scores"].astype(int)},
        "type int64; expected floats",
    ),
    "other relations": (
        lambda a: {"verb_scores": a["verb_scores"][..., :29]},
        "the class table 117 relations",
    ),
    "NaN score": (
        lambda a: {"verb_scores": with_value(a["verb_scores"], (70, 3, 5), np.nan)},
        "record 70 (image 100211): verb_scores[3, 5]=nan: expected a finite number; write 0",
    ),
    "infinite score": (
        lambda a: {"verb_scores": with_value(a["verb_scores"], (119, 0, 0), np.inf)},
        "record 119 (image 100358): verb_scores[0, 0]=inf",
    ),
    "NaN box": (
        lambda a: {"boxes": with_value(a["boxes"], (2, 150, 3), np.nan)},
        "record 2 (image 100007): boxes[150, 3]=nan",
    ),
    "unknown class": (
        lambda a: {"labels": with_value(a["labels"], (1, 4), 80)},
        "record 1 (image 100004): labels[4]=80: expected 0 to 79",
    ),
    "negative class": (lambda a: {"labels": with_value(a["labels"], (0, 4), -1)}, "labels[4]=-1: expected 0 to 79"),
    "subject outside": (
        lambda a: {"sub_ids": with_value(a["sub_ids"], (0, 7), 200)},
        "[7]=200: expected 0 to 199",
    ),
    "object outside": (lambda a: {"obj_ids": with_value(a["obj_ids"], (0, 7), -3)}, "[7]=-3: expected 0 to 199"),
    "unknown image": (
        lambda a: {"image_id": with_value(a["image_id"], (5,), 7)},
        "record 5 (image 7): image_id=7: no such image among the 120",
    ),
    "image twice": (
        lambda a: {"image_id": with_value(a["image_id"], (9,), 100001)},
        "record 9 (image 100001): image_id=100001: the image comes twice",
    ),
    "images missing": (
        lambda a: {key: value[2:] for key, value in a.items()},
        "no predictions for 2 of 120 images",
    ),
    "no image": (lambda a: {key: value[:0] for key, value in a.items()}, "no predictions for 120 of 120 images"),
}


@pytest.mark.parametrize(("change", "message"), BAD_PREDICTIONS.values(), ids=BAD_PREDICTIONS)
def test_bad_predictions_are_refused(
    synth: SynthCase,
    synth_files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict], dict],
    message: str,
) -> None:
    predictions = save(tmp_path / "bad.npz", synth.prediction_arrays, **change(synth.prediction_arrays))
    error = refused(capsys, predictions, synth_files[1], "--json", tmp_path / "out.json")
    assert f"{predictions}: " in error
    assert message in error
    assert os.listdir(tmp_path) == ["bad.npz"]


BAD_TRUTH: dict[str, tuple[Callable[[dict], dict], str]] = {
    "missing array": (lambda a: {"hoi_table": None}, "no array 'hoi_table'"),
    "wrong type": (lambda a: {"rare": a["rare"].astype(int)}, "rare: type int64; expected booleans"),
    "split of other length": (lambda a: {"unseen_uo": a["unseen_uo"][:9]}, "unseen_uo: shape (9,); expected (c)"),
    "offsets missing": (lambda a: {k: a[k][:-1] for k in ("box_ptr", "hoi_ptr")}, "120 offsets for 120 images"),
    "offsets too short": (
        lambda a: {"box_ptr": np.minimum(a["box_ptr"], 440)},
        "offsets must ascend from 0 to 451",
    ),
    "offsets descend": (lambda a: {"hoi_ptr": with_value(a["hoi_ptr"], (3,), 300)}, "hoi_ptr: offsets must ascend"),
    "image twice": (
        lambda a: {"file_id": with_value(a["file_id"], (3,), 100001)},
        "record 3 (image 100001): file_id=100001: the image is listed twice",
    ),
    "unknown class": (
        lambda a: {"box_labels": with_value(a["box_labels"], (0,), 80)},
        "record 0 (image 100001): box_labels=80: expected 0 to 79",
    ),
    "NaN box": (
        lambda a: {"boxes": with_value(a["boxes"].astype(np.float32), (0, 2), np.nan)},
        "record 0 (image 100001): boxes=[",
    ),
    "inverted box": (
        lambda a: {"boxes": with_value(a["boxes"].astype(np.float32), (0, 2), -1)},
        "x2 >= x1 and y2 >= y1; is this x, y, w, h?",
    ),
    "box of another image": (
        lambda a: {"hois": with_value(a["hois"], (0, 1), 90)},
        "record 0 (image 100001): hois=[",
    ),
    "unknown relation": (
        lambda a: {"hois": with_value(a["hois"], (0, 2), 117)},
        "the relation must lie in 0 to 116",
    ),
    "no label is a class": (
        lambda a: {"box_labels": np.ones_like(a["box_labels"])},
        "is none of the 600 classes, and no other label is one either",
    ),
    "class twice": (
        lambda a: {"hoi_table": a["hoi_table"] * 0},
        "hoi_table: a combination is listed twice",
    ),
    "no image": (
        lambda a: {"file_id": a["file_id"][:0], "box_ptr": a["box_ptr"][:1], "hoi_ptr": a["hoi_ptr"][:1]},
        "holds no image",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD_TRUTH.values(), ids=BAD_TRUTH)
def test_bad_ground_truth_is_refused(
    synth: SynthCase,
    synth_files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict], dict],
    message: str,
) -> None:
    truth = save(tmp_path / "bad.npz", synth.truth, **change(synth.truth))
    error = refused(capsys, synth_files[0], truth)
    assert f"{truth}: " in error
    assert message in error


def damaged_zip(source: Path, path: Path) -> None:
    """A compressed file with one byte of the scores changed, which its checksum tells."""
    with np.load(source) as arrays:
        np.savez_compressed(path, **arrays)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("verb_scores.npy")
        place = info.header_offset + info.compress_size // 2
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


BAD_FILES: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "missing": (lambda source, path: None, "no such file"),
    "folder": (lambda source, path: path.mkdir(), "is a folder"),
    "empty": (lambda source, path: path.write_bytes(b""), "the file is empty"),
    "git lfs pointer": (
        lambda source, path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "git lfs pull",
    ),
    "text": (lambda source, path: path.write_text("scores"), "no .npz archive but another format"),
    "single array": (lambda source, path: np.save(path.open("wb"), np.zeros(3)), "a single array (.npy)"),
    "cut off": (lambda source, path: path.write_bytes(source.read_bytes()[:-1000]), "cut off"),
    "cut in half": (
        lambda source, path: path.write_bytes(source.read_bytes()[: source.stat().st_size // 2]),
        "cut off",
    ),
    "damaged": (damaged_zip, "damaged"),
    "pickled": (
        lambda source, path: np.savez(path, image_id=np.array([{}], dtype=object)),
        "image_id: holds pickled Python objects",
    ),
    "column order": (
        lambda source, path: np.savez(path, boxes=np.asfortranarray(np.zeros((3, 2, 4)))),
        "boxes: stored in column order",
    ),
    "other members": (lambda source, path: zipfile.ZipFile(path, "w").writestr("readme.txt", "?"), "'readme.txt'"),
}


@pytest.mark.parametrize(("make", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_files_that_are_no_predictions_are_refused(
    synth_files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path, Path], object],
    message: str,
) -> None:
    path = tmp_path / "predictions.npz"
    make(synth_files[0], path)
    error = refused(capsys, path, synth_files[1])
    assert f"{path}: " in error
    assert message in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "zs"], "invalid choice: 'zs'"),
        (["--top-k", "0"], "expected a number from 1"),
        (["--nms-beta", "-1"], "expected a number of at least 0"),
        (["--protocol", "voc"], "invalid choice: 'voc'"),
        (["--json", "no/such/folder/out.json"], "give a file in a folder that exists"),
        (["--json", "."], "give a file in a folder that exists"),
    ],
)
def test_bad_options_are_refused(
    synth_files: Files, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert message in refused(capsys, *synth_files, *options)


def test_a_split_that_the_file_does_not_list_comes_from_the_vocabulary(synth_files: Files, tmp_path: Path) -> None:
    run(*synth_files, "--split", "uv", "--json", tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["uv"]["unseen"] > 0


def test_a_split_of_another_class_table_must_be_in_the_file(
    synth: SynthCase, synth_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = synth.truth["hoi_table"][::-1]
    truth = save(tmp_path / "truth.npz", synth.truth, hoi_table=table)
    assert "no array 'unseen_uv'" in refused(capsys, synth_files[0], truth, "--split", "uv")


def test_evaluating_npz_files_does_not_import_torch(synth_files: Files) -> None:
    """It would take longer than the evaluation of the whole test split."""
    code = (
        "import sys; from rlipv2.metrics.__main__ import main; main(sys.argv[1:]); "
        "sys.exit(bool({'torch', 'torchmetrics'} & set(sys.modules)))"
    )
    options = ["hico", "--predictions", synth_files[0], "--ground-truth", synth_files[1], "--split", "uc_rf"]
    done = subprocess.run([sys.executable, "-c", code, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_results_on_real_annotations_are_the_official_ones(golden_eval_dir: Path, tmp_path: Path) -> None:
    import runpy

    generator = runpy.run_path(str(golden_eval_dir / "make_detections.py"))
    truth = generator["load_hico_gt"](golden_eval_dir / "hico_test_gt.npz")
    expected = json.loads((golden_eval_dir / "hico_dev200.json").read_text())
    boxes, hois = truth["box_ptr"][200], truth["hoi_ptr"][200]
    cut = {
        "file_id": 200,
        "size": 200,
        "box_ptr": 201,
        "hoi_ptr": 201,
        "boxes": boxes,
        "box_labels": boxes,
        "hois": hois,
    }
    rows = [generator["hico_detections"](truth, image, 20231, 1.0) for image in range(200)]
    arrays = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    truth |= {key: truth[key][:length] for key, length in cut.items()}
    files = save(tmp_path / "p.npz", arrays, image_id=truth["file_id"]), save(tmp_path / "g.npz", truth)
    for nms in ("nms", "no_nms"):
        run(*files, f"--{nms.replace('_', '-')}", "--split", "uo", "--json", tmp_path / "out.json")
        found = json.loads((tmp_path / "out.json").read_text())
        for key in ("mAP", "mAP rare", "mAP non-rare", "mean max recall", "detections_counted", "true_positives"):
            assert found[key] == pytest.approx(expected["official"][nms][key], abs=1e-6)
        assert found["uo"] == pytest.approx(expected["official"][nms]["uo"], abs=1e-6)
