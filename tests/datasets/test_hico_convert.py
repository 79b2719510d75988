import json

import numpy as np
import pytest

from rlipv2.datasets import AnnotationError, SceneGraphs, read_annotations
from rlipv2.datasets.__main__ import main
from rlipv2.datasets.hico.convert import convert
from rlipv2.vocabularies import load
from tests.fakes import hico_scenes, hicodet_content, ppdm_record, write_hico, write_json

FIELDS = ("image_ids", "boxes", "labels", "box_ptr", "relations", "relation_ptr")


def source(folder, kind, split):
    names = {"ppdm": f"annotations/{'trainval' if split == 'train' else 'test'}_hico.json", "mat": "anno_bbox.mat"}
    return folder / names.get(kind, f"instances_{split}2015.json")


def assert_equal_records(first, second):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(first, field), getattr(second, field), err_msg=field)
    assert first.file_names == second.file_names


@pytest.mark.parametrize("kind", ["ppdm", "mat"])
def test_scene_graphs_show_the_same_pairs(tmp_path, kind):
    folder = write_hico(tmp_path, kind=kind)
    path, target = source(folder, kind, "train"), folder / "annotations/trainval_hico_vg_format.json"
    assert main(["convert", "hico", str(path), str(target), "--split", "train", "--to", "scene_graphs"]) == 0
    data, expected = SceneGraphs(folder, annotations=target.relative_to(folder)), read_annotations(path, "train")
    vocabulary = load("hico")
    assert data.records.file_names == tuple(f"images/train2015/{name}" for name in expected.file_names)
    assert [data.content.objects[row] for row in data.records.labels] == [
        vocabulary.objects[row] for row in expected.labels
    ]
    assert [data.content.relations[row] for row in data.records.relations[:, 2]] == [
        vocabulary.label_space.relations[row] for row in expected.relations[:, 2]
    ]
    np.testing.assert_array_equal(data.records.boxes, expected.boxes)
    np.testing.assert_array_equal(data.records.relations[:, :2], expected.relations[:, :2])
    np.testing.assert_array_equal(data.records.relation_ptr, expected.relation_ptr)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("kind", ["mat", "hicodet_json"])
def test_to_hoia_reads_back_as_the_source(tmp_path, kind, split):
    path = source(write_hico(tmp_path, kind=kind), kind, split)
    convert(path, tmp_path / "out.json", split)
    assert_equal_records(read_annotations(tmp_path / "out.json", split), read_annotations(path, split))


def test_to_hoia_writes_what_ppdm_writes(tmp_path):
    path = source(write_hico(tmp_path, kind="mat"), "mat", "train")
    convert(path, tmp_path / "out.json", "train")
    assert json.loads((tmp_path / "out.json").read_text()) == [ppdm_record(s, 0) for s in hico_scenes("train", 6)]


def test_the_test_list_has_no_img_id(tmp_path):
    path = source(write_hico(tmp_path, kind="mat"), "mat", "test")
    convert(path, tmp_path / "out.json", "test")
    assert "img_id" not in json.loads((tmp_path / "out.json").read_text())[0]


def test_shift_and_merging_are_options(tmp_path):
    path = source(write_hico(tmp_path, kind="mat"), "mat", "train")
    convert(path, tmp_path / "out.json", "train", shift="topleft", merge_iou=None)
    expected = read_annotations(path, "train", shift="topleft", merge_iou=None)
    assert_equal_records(read_annotations(tmp_path / "out.json", "train"), expected)


@pytest.mark.parametrize("split", ["train", "test"])
def test_ppdm_to_hicodet_json_undoes_the_shift(tmp_path, split):
    folder = write_hico(tmp_path, kind="ppdm")
    images = folder / "images" / f"{split}2015"
    convert(source(folder, "ppdm", split), tmp_path / "out.json", split, to="hicodet_json", images=images)
    expected = hicodet_content(hico_scenes(split, {"train": 6, "test": 4}[split]))
    assert json.loads((tmp_path / "out.json").read_text()) == expected


@pytest.mark.parametrize("split", ["train", "test"])
def test_mat_to_hicodet_json(tmp_path, split):
    path = source(write_hico(tmp_path, kind="mat"), "mat", split)
    convert(path, tmp_path / "out.json", split, to="hicodet_json")
    expected = hicodet_content(hico_scenes(split, {"train": 6, "test": 4}[split]))
    assert json.loads((tmp_path / "out.json").read_text()) == expected


def test_metadata_tells_where_the_file_came_from(tmp_path):
    path = source(write_hico(tmp_path, kind="mat"), "mat", "train")
    metadata = convert(path, tmp_path / "out.json", "train")
    assert json.loads((tmp_path / "out.json.meta.json").read_text()) == metadata
    assert metadata["source_kind"] == "mat"
    assert (metadata["shift"], metadata["merge_iou"]) == ("all", 0.6)
    assert "not identical" in metadata["note"]
    assert len(metadata["source_sha256"]) == 64


def test_sizes_are_needed_for_hicodet_json(tmp_path):
    path = source(write_hico(tmp_path, kind="ppdm"), "ppdm", "train")
    with pytest.raises(ValueError, match="--images"):
        convert(path, tmp_path / "out.json", "train", to="hicodet_json")
    assert not (tmp_path / "out.json").exists()


def test_a_file_that_has_the_format_already_is_refused(tmp_path):
    path = source(write_hico(tmp_path, kind="ppdm"), "ppdm", "train")
    with pytest.raises(AnnotationError, match="already is in the format hoia"):
        convert(path, tmp_path / "out.json", "train")


@pytest.mark.parametrize(
    ("change", "message"), [({"object_id": 77}, "missing box"), ({"category_id": 117}, "is no|are no")]
)
def test_pairs_that_hicodet_json_cannot_hold_are_refused(tmp_path, change, message):
    folder = write_hico(tmp_path, kind="ppdm")
    path = source(folder, "ppdm", "train")
    records = json.loads(path.read_text())
    records[1]["hoi_annotation"][0].update(change)
    write_json(path, records)
    with pytest.raises(AnnotationError, match=message):
        convert(path, tmp_path / "out.json", "train", to="hicodet_json", images=folder / "images/train2015")


def test_the_command_converts_and_tells_errors(tmp_path, capsys):
    path = source(write_hico(tmp_path, kind="mat"), "mat", "test")
    target = tmp_path / "annotations" / "test_hico.json"
    options = ["--split", "test", "--shift", "none", "--merge-iou", "none"]
    assert main(["convert", "hico", str(path), str(target), *options]) == 0
    assert target.is_file()
    assert main(["convert", "hico", str(target), str(target), *options]) == 2
    assert "already is in the format" in capsys.readouterr().err
