import json

import numpy as np
import pytest
from scipy.io import savemat

from rlipv2.datasets import AnnotationError, DatasetNotFoundError, read_annotations
from rlipv2.datasets.hico.readers import detect
from rlipv2.datasets.numbers import image_ids
from tests.fakes import (
    HICO,
    Pair,
    Scene,
    hico_scenes,
    hicodet_content,
    mat_structs,
    ppdm_record,
    write_hico,
    write_json,
)

KINDS = ("ppdm", "mat", "hicodet_json")
HOLD_PERSON, BOARD_AIRPLANE = int(HICO.hoi_ids[HICO.verbs.index("hug"), 0]), 0


def write_annotations(folder, kind, split, scenes):
    """The annotation file alone, without images."""
    path = folder / {"ppdm": "ppdm.json", "mat": "anno_bbox.mat", "hicodet_json": "hicodet.json"}[kind]
    if kind == "mat":
        savemat(path, {f"bbox_{split}": mat_structs(scenes)})
    elif kind == "ppdm":
        write_json(path, [ppdm_record(scene, int(split == "test")) for scene in scenes])
    else:
        write_json(path, hicodet_content(scenes))
    return path


def scene(*pairs, size=(100, 100)):
    return Scene("HICO_train2015_00000007.jpg", size, list(pairs))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("kind", ["mat", "hicodet_json"])
def test_all_sources_give_the_same_records(tmp_path, kind, split):
    scenes = hico_scenes(split, 12)
    expected, found = (
        read_annotations(write_annotations(tmp_path, name, split, scenes), split) for name in ("ppdm", kind)
    )
    for field in ("image_ids", "boxes", "labels", "box_ptr", "relations", "relation_ptr"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field), err_msg=field)
    assert found.file_names == expected.file_names
    np.testing.assert_array_equal(found.sizes, [scene.size for scene in scenes])


@pytest.mark.parametrize("kind", KINDS)
def test_detect_tells_the_kind_from_the_content(tmp_path, kind):
    path = write_annotations(tmp_path, kind, "train", hico_scenes("train", 2))
    renamed = path.rename(tmp_path / "annotations.dat")
    assert detect(renamed)[0] == kind


def test_ppdm_boxes_are_used_as_stored(tmp_path):
    path = write_annotations(tmp_path, "ppdm", "test", [scene(Pair(0, (0, 1, 10, 20), (5, 6, 7, 8)))])
    for options in ({}, {"shift": "all"}, {"merge_iou": 0.1}):
        records = read_annotations(path, "test", **options)
        assert records.boxes.tolist() == [[1, 2, 11, 21], [6, 7, 8, 9]]


def test_classes_and_relations_count_from_zero(tmp_path):
    pair = Pair(BOARD_AIRPLANE, (0, 1, 10, 20), (5, 6, 7, 8))
    for kind in KINDS:
        records = read_annotations(write_annotations(tmp_path, kind, "train", [scene(pair)]), "train")
        assert records.labels.tolist() == [0, HICO.objects.index("airplane")]
        assert records.relations.tolist() == [[0, 1, HICO.verbs.index("board")]]


@pytest.mark.parametrize(
    ("shift", "split", "expected"),
    [
        ("none", "train", [1, 2, 11, 21]),
        ("all", "train", [0, 1, 10, 20]),
        ("topleft", "train", [0, 1, 11, 21]),
        ("ppdm", "train", [0, 1, 10, 20]),
        ("ppdm", "test", [1, 2, 11, 21]),
    ],
)
@pytest.mark.parametrize("kind", ["mat", "hicodet_json"])
def test_shifts(tmp_path, kind, shift, split, expected):
    path = write_annotations(tmp_path, kind, split, [scene(Pair(0, (0, 1, 10, 20), (5, 6, 7, 8)))])
    assert read_annotations(path, split, shift=shift).boxes[0].tolist() == expected


@pytest.mark.parametrize("kind", ["mat", "hicodet_json"])
def test_equal_boxes_are_shared_and_relations_are_not_lost(tmp_path, kind):
    twice = [Pair(hoi, (0, 0, 10, 20), (5, 6, 17, 18)) for hoi in (0, 1, 1)]
    records = read_annotations(write_annotations(tmp_path, kind, "test", [scene(*twice)]), "test")
    assert len(records.boxes) == 2
    assert records.relations.tolist() == [[0, 1, HICO.hois[hoi, 0]] for hoi in (0, 1, 1)]


def test_boxes_of_two_classes_are_not_shared(tmp_path):
    records = read_annotations(
        write_annotations(tmp_path, "mat", "train", [scene(Pair(0, (0, 0, 10, 20), (0, 0, 10, 20)))]), "train"
    )
    assert len(records.boxes) == 2


def merged(tmp_path, pairs, threshold):
    path = write_annotations(tmp_path, "hicodet_json", "train", [scene(*pairs)])
    return read_annotations(path, "train", merge_iou=threshold)


def test_overlapping_boxes_of_one_class_become_the_first(tmp_path):
    # two person boxes with an IoU of 0.9, two airplanes apart
    pairs = [Pair(0, (0, 0, 10, 20), (20, 0, 40, 10)), Pair(1, (0, 0, 10, 18), (60, 60, 80, 90))]
    assert len(merged(tmp_path, pairs, None).boxes) == 4
    assert len(merged(tmp_path, pairs, 0.95).boxes) == 4
    records = merged(tmp_path, pairs, 0.6)
    assert records.boxes.tolist() == [[0, 0, 10, 20], [20, 0, 40, 10], [60, 60, 80, 90]]
    assert records.relations[:, :2].tolist() == [[0, 1], [0, 2]]


def test_an_iou_equal_to_the_threshold_does_not_merge(tmp_path):
    pairs = [Pair(0, (0, 0, 10, 20), (20, 0, 40, 10)), Pair(0, (0, 0, 10, 10), (20, 0, 40, 10))]
    assert len(merged(tmp_path, pairs, 0.5).boxes) == 3
    assert len(merged(tmp_path, pairs, 0.49).boxes) == 2


def test_two_people_of_one_pair_stay_two_boxes(tmp_path):
    hug = Pair(HOLD_PERSON, (0, 0, 10, 20), (0, 0, 10, 18))
    assert merged(tmp_path, [hug], 0.6).relations[0, :2].tolist() == [0, 1]
    # the same when the second person is known from an earlier pair and was merged there
    first = Pair(BOARD_AIRPLANE, (0, 0, 10, 19), (40, 40, 60, 60))
    earlier = Pair(BOARD_AIRPLANE, (0, 0, 10, 18), (40, 40, 60, 60))
    records = merged(tmp_path, [first, earlier, hug], 0.6)
    assert records.relations[2, 0] != records.relations[2, 1]
    assert records.relations[2, 0] == records.relations[0, 0]


def test_merging_never_joins_boxes_of_different_images(tmp_path):
    scenes = [scene(Pair(0, (0, 0, 10, 20), (20, 0, 40, 10))) for _ in range(2)]
    scenes[1].file_name = "HICO_train2015_00000008.jpg"
    records = read_annotations(write_annotations(tmp_path, "mat", "train", scenes), "train", merge_iou=0.1)
    assert records.box_ptr.tolist() == [0, 2, 4]


@pytest.mark.parametrize("kind", KINDS)
def test_images_without_interactions_stay(tmp_path, kind):
    scenes = hico_scenes("train", 4)
    records = read_annotations(write_annotations(tmp_path, kind, "train", scenes), "train")
    assert len(records) == 4
    assert np.diff(records.relation_ptr)[3] == 0


def test_invisible_interactions_of_the_original_release_are_skipped(tmp_path):
    invisible = Scene("HICO_train2015_00000001.jpg", (9, 9), [Pair(3, (0, 0, 4, 4), (5, 5, 8, 8))], [4, 5])
    records = read_annotations(write_annotations(tmp_path, "mat", "train", [invisible]), "train")
    assert records.relations[:, 2].tolist() == [HICO.hois[3, 0]]


def test_one_interaction_with_several_pairs_is_read_in_full(tmp_path):
    pairs = [Pair(3, (x, 0, x + 5, 9), (x, 20, x + 5, 29)) for x in (0, 30, 60)]
    records = read_annotations(write_annotations(tmp_path, "mat", "train", [scene(*pairs)]), "train")
    assert records.relations[:, :2].tolist() == [[0, 1], [2, 3], [4, 5]]


def test_image_ids_are_the_numbers_of_the_file_names():
    assert image_ids(["HICO_test2015_00000006.jpg", "HICO_test2015_00000017.jpg"]).tolist() == [6, 17]
    assert image_ids(["a.jpg", "b.jpg", "a.jpg"]).tolist() == [1, 2, 1]
    assert image_ids(["x_1.jpg", "y_1.jpg"]).tolist() == [1, 2]


def test_bad_options_are_refused(tmp_path):
    path = write_annotations(tmp_path, "hicodet_json", "train", hico_scenes("train", 1))
    with pytest.raises((ValueError, TypeError), match="left"):  # TypeError where types are checked
        read_annotations(path, "train", shift="left")
    with pytest.raises(ValueError, match="merge_iou=2"):
        read_annotations(path, "train", merge_iou=2)


def test_other_files_are_told_apart(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"nothing\.json"):
        read_annotations(tmp_path / "nothing.json", "train")
    write_json(tmp_path / "coco.json", {"images": [], "annotations": [], "categories": []})
    with pytest.raises(AnnotationError, match="no annotation file of HICO-DET"):
        read_annotations(tmp_path / "coco.json", "train")
    (tmp_path / "cut.mat").write_bytes(b"MATLAB 5.0 MAT-file, and no more")
    with pytest.raises(AnnotationError, match=r"cut\.mat: not a readable MATLAB file"):
        read_annotations(tmp_path / "cut.mat", "train")


def test_a_mat_file_without_the_split_is_refused(tmp_path):
    path = write_annotations(tmp_path, "mat", "train", hico_scenes("train", 1))
    with pytest.raises(AnnotationError, match="no variable bbox_test"):
        read_annotations(path, "test")


def broken_mat(tmp_path, **changes):
    structs = mat_structs([scene(Pair(3, (0, 0, 5, 9), (10, 20, 15, 29)))])
    for field, value in changes.items():
        structs[0, 0]["hoi"][0, 0][field] = value
    savemat(tmp_path / "anno_bbox.mat", {"bbox_train": structs})
    return tmp_path / "anno_bbox.mat"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": 601}, r"record 0 \(image HICO_train2015_00000007.jpg\): hoi.id=601: unknown interaction id"),
        ({"id": 0}, "hoi.id=0"),
        ({"connection": np.array([[1, 2]])}, r"hoi.connection=\[\[1, 2\]\]: refers to a box that does not exist"),
        ({"connection": np.array([[0, 1]])}, "rows count from 1"),
    ],
)
def test_bad_records_of_the_original_release_are_named(tmp_path, changes, message):
    with pytest.raises(AnnotationError, match=message):
        read_annotations(broken_mat(tmp_path, **changes), "train")


def broken_hicodet(tmp_path, edit):
    content = hicodet_content(hico_scenes("train", 3))
    edit(content)
    path = tmp_path / "instances_train2015.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["annotation"][1]["hoi"].__setitem__(0, 600), r"record 1 .*hoi\[0\]=600: unknown interaction"),
        (lambda c: c["annotation"][1]["hoi"].append(0), "a list is missing or lengths differ"),
        (lambda c: c["annotation"][1].pop("verb"), "a list is missing or lengths differ"),
        (lambda c: c["annotation"][1]["verb"].__setitem__(0, 116), r"verb\[0\]=116: not the verb of this pair's hoi"),
        (lambda c: c["objects"].reverse(), "not the object of this pair's hoi"),
        (lambda c: c["objects"].__setitem__(0, "aeroplane"), r"unknown names \['aeroplane'\]"),
        (lambda c: c["filenames"].pop(), "lengths differ"),
        (lambda c: c.pop("size"), "lengths differ"),
        (lambda c: c["size"].__setitem__(2, [64, 0]), r"record 2 .*size=\[64, 0\]: not an image size"),
        (lambda c: c["annotation"][0]["boxes_h"].__setitem__(0, [1, 2, 3]), r"boxes_h\[0\]=\[1, 2, 3\]: not a list of"),
    ],
)
def test_bad_records_of_fredzzhang_hicodet_are_named(tmp_path, edit, message):
    with pytest.raises(AnnotationError, match=message):
        read_annotations(broken_hicodet(tmp_path, edit), "train")


@pytest.mark.parametrize("kind", KINDS)
def test_the_written_miniature_reads_in_every_kind(tmp_path, kind):
    folder = write_hico(tmp_path, kind=kind, num_train=2, num_test=2)
    assert (folder / "images" / "test2015" / "HICO_test2015_00000002.jpg").is_file()
