import json

import numpy as np
import pytest
import torch

from rlipv2.datasets import AnnotationError, DatasetNotFoundError, SceneGraphs
from rlipv2.datasets.__main__ import main
from rlipv2.datasets.scene_graphs import NameCounts, paths
from rlipv2.datasets.scene_graphs.dataset import find_annotations
from rlipv2.datasets.scene_graphs.reader import read_scene_graphs
from tests.fakes import write_image, write_json
from tests.fakes_vg import FILE, graph, graphs, write_vg

BOX = (2, 3, 10, 20)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_vg(tmp_path_factory.mktemp("vg"))


def triplets(sample):
    space = sample.label_space
    names = [space.objects[row] for row in sample.annotation.labels]
    return [
        (names[subject], space.relations[relation], names[target])
        for subject, target, relation in sample.annotation.relations.tolist()
    ]


def one_record(tmp_path, objects, relations, **options):
    return SceneGraphs(write_vg(tmp_path, [graph(1, objects, relations)]), **options)


def test_samples_name_what_the_file_names_in_file_order(root):
    sample = SceneGraphs(root)[0]
    assert sample.label_space.objects == ("man", "street sign", "dog", "shirt")
    assert sample.label_space.relations == ("on", "next to", "relation 1", "holding")
    assert triplets(sample) == [
        ("man", "on", "street sign"),
        ("dog", "next to", "man"),
        ("man", "relation 1", "dog"),
        ("man", "holding", "street sign"),
        ("man", "on", "street sign"),
        ("street sign", "on", "street sign"),
    ]
    assert sample.annotation.image_id == 1
    assert sample.annotation.boxes_xyxy[1].tolist() == [3, 3, 23, 18]


def test_boxes_are_clamped_to_the_image(root):
    sample = SceneGraphs(root)[2]
    assert sample.annotation.boxes_xyxy[1].tolist() == [50, 3, 64, 18]
    assert sample.original_size == (48, 64)


def test_boxes_left_without_area_go_with_their_relations_but_their_name_stays(tmp_path):
    objects = [("man", BOX), ("sign", (70, 0, 9, 9)), ("dog", BOX)]
    sample = one_record(tmp_path, objects, [(0, "on", 1), (2, "by", 0)])[0]
    assert triplets(sample) == [("dog", "by", "man")]
    assert sample.label_space.objects == ("man", "sign", "dog")
    assert sample.label_space.relations == ("on", "by")


def test_images_without_relations_stay_or_go(root):
    assert len(SceneGraphs(root)) == 8
    kept = SceneGraphs(root, unrelated_images="drop")
    assert len(kept) == 7
    assert kept.counts["images without relations dropped"] == 1
    assert kept.records.file_names[1] == "images/3.jpg"


def test_greyscale_images_are_read(root):
    assert SceneGraphs(root)[1].image.shape == (3, 48, 64)


def test_human_relations_pass_every_threshold_and_pseudo_labels_pass_at_it(tmp_path):
    objects = [("man", BOX), ("dog", BOX)]
    relations = [(0, "a", 1, 0.2), (0, "b", 1, 0.19999), (0, "c", 1, 0.9), (0, "human", 1)]
    data = one_record(tmp_path, objects, relations, relation_threshold=0.2)
    assert [relation for _, relation, _ in triplets(data[0])] == ["a", "c", "human"]
    assert data.counts["relations below the threshold dropped"] == 1


@pytest.mark.parametrize(("order", "expected"), [("file", ["a", "b"]), ("confidence", ["b", "c"])])
def test_the_first_relations_count(tmp_path, order, expected):
    relations = [(0, "a", 1, 0.3), (0, "b", 1, 0.5), (0, "c", 1, 0.9)]
    data = one_record(tmp_path, [("man", BOX), ("dog", BOX)], relations, max_relations=2, relation_order=order)
    assert [relation for _, relation, _ in triplets(data[0])] == expected


def test_the_cut_is_made_in_every_image(root):
    data = SceneGraphs(root, max_relations=1)
    assert np.diff(data.records.relation_ptr).tolist() == [1, 0, 1, 1, 1, 1, 1, 1]
    assert data[0].label_space.relations == ("on",)  # names of relations that are cut are not asked for


def test_doubled_relations_are_kept_or_dropped_but_the_most_confident(tmp_path):
    relations = [(0, "a", 1, 0.3), (0, "a", 1, 0.5), (1, "a", 0, 0.4), (0, "b", 1, 0.6)]
    data = one_record(tmp_path, [("man", BOX), ("dog", BOX)], relations)
    assert len(data.records.relations) == 4
    data = one_record(tmp_path, [("man", BOX), ("dog", BOX)], relations, doubled_relations="drop")
    assert data.content.confidences.tolist() == [0.5, 0.4, 0.6]


def test_names_are_counted_after_the_threshold_but_before_the_cut(tmp_path):
    records = [
        graph(1, [("dog", BOX), ("man", BOX), ("man", BOX)], [(0, "by", 1, 0.9), (0, "on", 1, 0.9), (1, "on", 2, 0.1)]),
        graph(2, [("kite", BOX), ("Man", BOX)], [(0, "by", 1, 0.5)]),
        graph(3, [("kite", BOX)], []),
    ]
    names = SceneGraphs(write_vg(tmp_path, records), max_relations=1, unrelated_images="drop").names
    assert names.objects == ("man", "kite", "dog", "Man")  # ties in order of first occurrence
    assert names.object_counts.tolist() == [2, 2, 1, 1]
    assert dict(zip(names.relations, names.relation_counts.tolist(), strict=True)) == {"by": 2, "on": 1}


def test_lower_case_is_an_option(root):
    assert "Tree" in SceneGraphs(root).names.objects
    assert "tree" in SceneGraphs(root, lower_case=True).names.objects


def test_a_file_of_counts_is_used_where_there_is_one(tmp_path):
    write_vg(tmp_path)
    counted = SceneGraphs(tmp_path).names
    path = tmp_path / "annotations/vg_keep_names_v1_no_lias_freq.json"
    assert main(["convert", "vg", str(tmp_path / FILE), str(path)]) == 0
    read = NameCounts.read(path)
    assert (read.objects, read.relations) == (counted.objects, counted.relations)
    content = json.loads(path.read_text())
    content["object_freq"]["man"] = 1000
    write_json(path, content)
    assert SceneGraphs(tmp_path).names.object_counts[0] == 1000
    assert SceneGraphs(tmp_path, names=None).names.object_counts[0] == counted.object_counts[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(object_names="man"), "object_names is not a list of names"),
        (lambda c: c["object_names"].append("man"), "object_names holds 'man' more than once"),
        (lambda c: c["relationship_freq"].pop("on"), "relationship_freq has no number for 'on'"),
        (lambda c: c["object_freq"].update(dog=0), "object_freq of 'dog' is 0"),
    ],
)
def test_wrong_counts_are_refused(tmp_path, change, message):
    SceneGraphs(write_vg(tmp_path)).names.write(tmp_path / "names.json")
    content = json.loads((tmp_path / "names.json").read_text())
    change(content)
    write_json(tmp_path / "names.json", content)
    with pytest.raises(ValueError, match=rf"names.json: {message}"):
        SceneGraphs(tmp_path, names="names.json")


def test_excluded_images_are_left_out(root):
    data = SceneGraphs(root, exclude_ids=[1, 4])
    assert data.records.image_ids.tolist() == [2, 3, 5, 6, 7, 8]


def test_a_part_of_the_images_is_in_file_order(root):
    data = SceneGraphs(root)
    part = data.select(np.array([4, 1]))
    assert part.records.image_ids.tolist() == [2, 5]
    assert triplets(part[1]) == triplets(data[4])
    assert len(part.content.confidences) == len(part.records.relations)
    assert len(data) == 8


def test_relations_mean_the_last_object_of_an_id(tmp_path):
    record = graph(1, [("man", BOX), ("dog", BOX), ("cat", BOX)], [(0, "on", 1)])
    record["objects"][2]["object_id"] = record["objects"][0]["object_id"]
    assert triplets(SceneGraphs(write_vg(tmp_path, [record]))[0]) == [("cat", "on", "dog")]


def test_unusable_objects_and_relations_are_left_out_and_counted(tmp_path):
    objects = [("man", BOX), (" ", BOX), ("dog", (2, 2, 0, 5)), ("kite", BOX)]
    relations = [(0, "on", 3), (0, "on", 1), (3, "", 0), (0, "by", 9), (3, "by", 0), (2, "on", 0)]
    data = one_record(tmp_path, objects, relations, max_skip_rate=1)
    assert triplets(data[0]) == [("man", "on", "kite"), ("kite", "by", "man")]
    assert data.content.skipped == {
        "objects without a name": 1,
        "objects without an area": 1,
        "relations without a name": 1,
        "relations to an object that is not in the record": 1,
        "relations to an object that is left out": 2,
    }
    with pytest.raises(ValueError, match=r"of 4 objects more than the share max_skip_rate=0.001 .* 1 objects without"):
        one_record(tmp_path, objects, relations)


def test_a_record_without_objects_is_kept(tmp_path):
    data = SceneGraphs(write_vg(tmp_path, [graph(1, []), graph(2, [("man", BOX)])]))
    assert data[0].annotation.boxes_xyxy.shape == (0, 4)
    assert data[0].label_space.objects == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r[3].pop("objects"), r"record 3 \(image 4\): objects=None: missing or not a list"),
        (lambda r: r[3]["objects"][1].pop("w"), r"record 3 \(image 4\): objects\[1\]=.*without w"),
        (lambda r: r[3].update(image_id=None), r"record 3 \(image None\): image_id=None"),
        (lambda r: r.__setitem__(3, 7), r"record 3 \(image \?\): record=7: not an object"),
        (
            lambda r: r[3]["objects"][1].update(names=["man"]),
            r"record 3 \(image 4\): objects\[1\].names=\['man'\]: not a text; .*the preprocessed file",
        ),
        (lambda r: r[3]["objects"][1].update(x="2"), r"objects\[1\].x='2': not a number"),
        (lambda r: r[3]["objects"][1].update(x=float("inf")), r"objects\[1\].x=inf: not finite"),
        (lambda r: r[3]["objects"][1].update(object_id=1.5), r"objects\[1\].object_id=1.5: not an integer"),
        (lambda r: r[3]["objects"][1].update(names="no objects"), r"objects\[1\].names='no objects': reserved name"),
        (lambda r: r[3]["relationships"][2].update(predicate=3), r"relationships\[2\].predicate=3: not a text"),
        (lambda r: r[3]["relationships"][2].update(confidence="1"), r"relationships\[2\].confidence='1': not a number"),
        (lambda r: r[3]["relationships"][2].update(confidence=1.5), r"confidence=1.5: out of range"),
        (lambda r: r[3].update(dataset="flickr"), r"record 3 \(image 4\): dataset='flickr': unknown"),
        (lambda r: r[3].update(dataset="coco2017"), r"dataset='coco2017': the first record is of 'vg'"),
    ],
)
def test_bad_records_are_named(tmp_path, change, message):
    records = graphs(5)
    change(records)
    write_json(tmp_path / FILE, records)
    with pytest.raises(ValueError, match=message):
        SceneGraphs(tmp_path)


@pytest.mark.parametrize(("content", "message"), [([], "an empty list"), ({"a": 1}, "top level is no list")])
def test_other_files_are_refused(tmp_path, content, message):
    write_json(tmp_path / FILE, content)
    with pytest.raises(ValueError, match=message):
        SceneGraphs(tmp_path)


def test_missing_annotations_show_the_layout(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"images/1.jpg[\s\S]*scene_graphs_preprocessv1.json"):
        SceneGraphs(tmp_path)


def test_annotations_may_lie_where_the_command_is_run(root, tmp_path, monkeypatch):
    write_json(tmp_path / "logs" / "mine.json", [graph(1, [("man", BOX)], [])])
    monkeypatch.chdir(tmp_path)
    assert find_annotations(root, "logs/mine.json").resolve() == tmp_path / "logs" / "mine.json"
    assert find_annotations(root, FILE) == root / FILE


def test_missing_images_are_an_error_or_left_out(tmp_path):
    write_vg(tmp_path)
    (tmp_path / "images/5.jpg").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"1 of 8 images are missing \(images/5.jpg\)"):
        SceneGraphs(tmp_path)
    data = SceneGraphs(tmp_path, max_skip_rate=0.2)
    assert data.records.image_ids.tolist() == [1, 2, 3, 4, 6, 7, 8]


@pytest.mark.parametrize(
    ("image", "fields", "name"),
    [
        (9, {"dataset": "coco2017"}, "train2017/000000000009.jpg"),
        (9, {"dataset": "coco2017", "data_split": "val2017"}, "val2017/000000000009.jpg"),
        (900461, {"dataset": "o365"}, "train/patch16/objects365_v2_00900461.jpg"),
        ("HICO_train2015_00000001.jpg", {"dataset": "hico"}, "images/train2015/HICO_train2015_00000001.jpg"),
    ],
)
def test_images_of_other_datasets_lie_where_these_have_them(tmp_path, image, fields, name):
    write_json(tmp_path / FILE, [graph(image, [("man", BOX)], **fields)])
    write_json(tmp_path / "paths.json", {"900461": "train/patch16/objects365_v2_00900461.jpg"})
    (tmp_path / name).parent.mkdir(parents=True)
    write_image(tmp_path / name, (30, 40))
    data = SceneGraphs(tmp_path, image_paths="paths.json")
    assert data.records.file_names == (name,)
    assert data[0].original_size == (30, 40)


def test_objects365_needs_the_list_of_its_images(tmp_path):
    write_json(tmp_path / FILE, [graph(5, [("man", BOX)], dataset="o365")])
    with pytest.raises(ValueError, match="give image_paths"):
        SceneGraphs(tmp_path)
    write_json(tmp_path / "paths.json", {"6": "train/patch0/x.jpg"})
    with pytest.raises(ValueError, match=r"image_id=5: not listed in .*paths.json"):
        SceneGraphs(tmp_path, image_paths="paths.json")


def test_a_long_list_of_images_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CHUNK", 2)
    write_json(tmp_path / FILE, [graph(number, [("man", BOX)], dataset="o365") for number in (7, 5, 12)])
    listed = '{"12": "c.jpg", "5": "old.jpg", "+7": "no id", "07": "no id", "x": "no id", "7": "a.jpg", "5": "b.jpg"}'
    (tmp_path / "paths.json").write_text(listed)
    content = read_scene_graphs(tmp_path / FILE, image_paths=tmp_path / "paths.json")
    assert content.records.file_names == ["a.jpg", "b.jpg", "c.jpg"]  # of an id that is listed twice the last file


@pytest.mark.parametrize(
    ("listed", "message"),
    [("[1]", "its top level is no object"), ('{"5": 3}', "not a table of paths"), ('{"5": ["x"]}', "not a table")],
)
def test_a_list_of_images_that_is_none_is_refused(tmp_path, listed, message):
    write_json(tmp_path / FILE, [graph(5, [("man", BOX)], dataset="o365")])
    (tmp_path / "paths.json").write_text(listed)
    with pytest.raises(AnnotationError, match=rf"paths.json: {message}.*900461"):
        read_scene_graphs(tmp_path / FILE, image_paths=tmp_path / "paths.json")


@pytest.mark.parametrize(
    "options", [{"relation_order": "x"}, {"doubled_relations": "x"}, {"unrelated_images": "x"}, {"max_relations": 0}]
)
def test_unknown_options_are_refused(root, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SceneGraphs(root, **options)


def test_check_finds_what_is_odd_and_what_is_wrong(root, tmp_path, capsys):
    assert main(["check", "vg", str(root)]) == 0
    shown = capsys.readouterr().out
    assert "8 images decode" in shown
    assert "Visual Genome as published for RLIP has 108,077" in shown
    write_vg(tmp_path)
    (tmp_path / "images/5.jpg").write_bytes(b"no image")
    (tmp_path / "images/6.jpg").unlink()
    assert main(["check", "vg", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "images/6.jpg" in shown
    assert "not an image" in shown


def test_check_counts_what_training_leaves_out(tmp_path, capsys):
    write_vg(tmp_path, [graph(1, [("man", BOX), ("", BOX)], [(0, "on", 1), (0, "by", 0)])])
    write_json(tmp_path / "annotations/vg_keep_names_v1_no_lias_freq.json", {})
    assert main(["check", "vg", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "1 objects without a name" in shown
    assert "object_names is not a list of names" in shown
    assert main(["check", "vg", str(tmp_path), "--max-skip-rate", "1"]) == 1  # the counts are still wrong


def test_check_without_a_dataset_tells_what_to_put_where(tmp_path, capsys):
    assert main(["check", "vg", str(tmp_path / "nowhere")]) == 1
    assert "no scene graphs" in capsys.readouterr().out


def test_labels_are_tensors_of_the_right_type(root):
    annotation = SceneGraphs(root)[1].annotation
    assert annotation.relations.shape == (0, 3)
    assert annotation.relations.dtype == annotation.labels.dtype == torch.int64
