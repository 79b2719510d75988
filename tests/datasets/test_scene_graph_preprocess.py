import json
from collections import Counter
from pathlib import Path

import pytest

from rlipv2.datasets.__main__ import main
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.scene_graphs.preprocess import Aliases, Preprocessing, convert, parse_aliases, pixel_iou
from rlipv2.datasets.scene_graphs.reader import read_scene_graphs
from rlipv2.datasets.scene_graphs.release import read_release

RECORDED = json.loads((Path(__file__).parents[1] / "fixtures/scene_graphs/vg_preprocess.json").read_text())


def thing(number, names, x, y, w, h):
    return {"object_id": number, "names": names, "x": x, "y": y, "w": w, "h": h, "synsets": []}


def relation(number, predicate, subject, target):
    ends = {"subject_id": subject, "object_id": target}
    return {"relationship_id": number, "predicate": predicate, **ends, "synsets": []}


def records():
    """The recorded input as `scene_graphs.json` has it."""
    return [
        {
            "image_id": image["image_id"],
            "objects": [thing(*row) for row in image["objects"]],
            "relationships": [relation(*row) for row in image["relationships"]],
        }
        for image in RECORDED["input"]
    ]


@pytest.fixture
def release(tmp_path):
    folder = tmp_path / "annotations"
    folder.mkdir()
    (folder / "scene_graphs.json").write_text(json.dumps(records()))
    (folder / "object_alias.txt").write_text(RECORDED["object_alias"])
    (folder / "relationship_alias.txt").write_text(RECORDED["relationship_alias"])
    return tmp_path


@pytest.mark.parametrize("min_count", [0, 20])
def test_official_records_come_out_exactly(release, tmp_path, min_count):
    target = tmp_path / "out.json"
    arguments = ["convert", "vg", str(release), str(target), "--to", "scene_graphs", "--min-count", str(min_count)]
    assert main(arguments) == 0
    expected = []
    for image, made in zip(records(), RECORDED["expected"][str(min_count)], strict=True):
        rows = {row["relationship_id"]: row for row in image["relationships"]}
        expected.append(
            {
                "image_id": made["image_id"],
                "objects": [row | {"names": name} for row, name in zip(image["objects"], made["names"], strict=True)],
                "relationships": [rows[number] | {"predicate": name} for number, name in made["relationships"]],
            }
        )
    assert json.loads(target.read_text()) == expected


def test_metadata_tells_source_options_and_counts(release, tmp_path):
    metadata = convert(release, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json.meta.json").read_text()) == metadata
    assert len(metadata["source_sha256"]) == 64
    wanted = {
        "images": 4,
        "objects": 21,
        "objects with several names": 1,
        "relations in file": 143,
        "repeated relations dropped": 2,
        "nearly repeated relations dropped": 2,
        "relations beyond max_relations dropped": 32,
        "relations": 107,
    }
    assert wanted.items() <= metadata.items()


def test_the_result_is_what_the_reader_takes(release, tmp_path):
    convert(release, tmp_path / "out.json")
    content = read_scene_graphs(tmp_path / "out.json", max_skip_rate=0.2)
    assert len(content.records) == 4
    assert content.skipped["objects without an area"] == 1
    assert content.skipped["relations without a name"] == 1


def graph(*relations, objects=()):
    return {"image_id": 1, "objects": [thing(*row) for row in objects], "relationships": list(relations)}


def kept(record, **options):
    return [row["relationship_id"] for row in Preprocessing(**options)(record)["relationships"]]


def test_near_repeats_are_compared_with_those_that_stay_only():
    # boxes 1 ~ 2 ~ 3, but not 1 ~ 3: relation 2 goes for its likeness to 1, and 3 stays
    boxes = [(row, ["dog"], shift, 0, 100, 99) for row, shift in ((1, 0), (2, 15), (3, 30))]
    record = graph(*(relation(row, "near", row, 9) for row in (1, 2, 3)), objects=[*boxes, (9, ["cat"], 0, 0, 50, 50)])
    assert kept(record) == [1, 3]
    assert kept(record, iou_threshold=0.5) == [1]
    assert kept(record, max_relations=1) == [1]


def test_aliases_merge_but_stored_names_stay():
    objects = [(1, ["Guy"], 0, 0, 50, 50), (2, ["man", "boy"], 0, 0, 50, 50), (3, ["hat"], 0, 0, 9, 9)]
    record = graph(relation(1, "wears", 1, 3), relation(2, "Wearing", 2, 3), objects=objects)
    assert kept(record) == [1, 2]
    aliases = Aliases(parse_aliases("man,guy\n"), parse_aliases("wearing,wears\n"))
    made = Preprocessing(aliases)(record)
    assert [row["predicate"] for row in made["relationships"]] == ["wears"]
    assert [row["names"] for row in made["objects"]] == ["guy", "man", "hat"]
    assert record["objects"][0]["names"] == ["Guy"]  # the given record stays


def test_repeats_are_found_in_any_case_and_order_matters():
    objects = [(1, ["a"], 0, 0, 9, 9), (2, ["b"], 0, 0, 9, 9)]
    rows = [relation(1, "On", 1, 2), relation(2, "on", 1, 2), relation(3, "on", 2, 1)]
    assert kept(graph(*rows, objects=objects)) == [1, 3]


def test_later_lines_of_aliases_override():
    assert parse_aliases("tree,trees\nplant,trees\n") == {"tree": "tree", "plant": "plant", "trees": "plant"}


def test_iou_counts_the_last_pixel():
    def box(x, y, w, h):
        return {"x": x, "y": y, "w": w, "h": h}

    assert pixel_iou(box(0, 0, 9, 9), box(0, 0, 9, 4)) == 0.5
    assert pixel_iou(box(0, 0, 9, 9), box(9, 0, 9, 9)) == 0  # share a pixel, but not without the last one
    assert pixel_iou(box(0, 0, 9, 0), box(0, 0, 9, 0)) == 0


def test_min_count_counts_boxes_and_predicates(release, tmp_path):
    metadata = convert(release, tmp_path / "out.json", min_count=12)  # 12 leaves, 100 relations between them
    assert metadata["relations"] == 100
    assert metadata["relations of rare names dropped"] == 7
    made = json.loads((tmp_path / "out.json").read_text())
    assert Counter(row["predicate"] for image in made for row in image["relationships"]) == {"next to": 100}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


BOX = (0, 0, 5, 5)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (graph(objects=[(1, "man", *BOX)]), r"record 1 \(image 1\): objects\[0\]\.names='man'.*preprocessed already"),
        (graph(objects=[(1, [], *BOX)]), r"objects\[0\]\.names=\[\].*at least one name"),
        (graph(objects=[(1, ["a"], "0", 0, 5, 5)]), r"objects\[0\]\.x='0': missing, or of the wrong type"),
        (graph(relation(1, "on", 1, 2), objects=[(1, ["a"], *BOX)]), r"relationships\[0\]\.object_id=2: no object"),
        (graph(relation(1, None, 1, 1), objects=[(1, ["a"], *BOX)]), r"relationships\[0\]\.predicate=None"),
        (graph() | {"objects": None}, "objects=None: missing or not a list"),
        ({"image_id": 1, "relationships": []}, "objects=None: missing or not a list"),
        (graph() | {"relationships": [3]}, r"relationships\[0\]=3: not an object"),
        ([], r"record=\[\]: not an object"),
    ],
)
def test_bad_records_are_named(tmp_path, record, message):
    path = write(tmp_path / "scene_graphs.json", [graph(), record])
    with pytest.raises(AnnotationError, match=message):
        list(read_release(path))


def test_a_bad_record_leaves_the_old_file_alone(tmp_path):
    source = write(tmp_path / "scene_graphs.json", [graph(), {}])
    target = write(tmp_path / "out.json", "old")
    with pytest.raises(AnnotationError, match="record 1"):
        convert(source, target, aliases=None)
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "scene_graphs.json"]


def test_what_is_missing_is_named(tmp_path, capsys):
    with pytest.raises(DatasetNotFoundError, match=r"scene_graphs\.json of Visual Genome not found"):
        convert(tmp_path, tmp_path / "out.json")
    write(tmp_path / "scene_graphs.json", [graph()])
    assert main(["convert", "vg", str(tmp_path), str(tmp_path / "out.json"), "--to", "scene_graphs"]) == 2
    assert "--aliases none" in capsys.readouterr().err
    assert convert(tmp_path, tmp_path / "out.json", aliases=None)["images"] == 1


@pytest.mark.parametrize("options", [{"iou_threshold": 1.5}, {"max_relations": 0}, {"min_count": -1}])
def test_options_out_of_range(release, tmp_path, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        convert(release, tmp_path / "out.json", **options)


def test_empty_lists_are_refused(tmp_path):
    with pytest.raises(AnnotationError, match="an empty list"):
        convert(write(tmp_path / "scene_graphs.json", []), tmp_path / "out.json", aliases=None)
    assert not (tmp_path / "out.json").exists()
