import numpy as np
import pytest

from rlipv2.datasets import SceneGraphMixture, SceneGraphs
from rlipv2.datasets.scene_graphs import NameCounts
from tests.fakes import write_json
from tests.fakes_corpora import COCO_FILE, coco_graphs, write_corpora


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return write_corpora(tmp_path_factory.mktemp("corpora"))


def mixture(settings, *names, **options):
    reading = {"max_relations": 100, "unrelated_images": "drop", "names": None} | options
    return SceneGraphMixture({name: SceneGraphs(**(reading | settings[name])) for name in names})


def coco(settings, **options):
    return SceneGraphs(**(settings["coco"] | {"names": None} | options))


def predicates(data):
    """Of each image, by its id."""
    return {
        int(image): [data.content.relations[row] for row in data.records[index].relations[:, 2]]
        for index, image in enumerate(data.records.image_ids)
    }


def test_corpora_follow_one_another_in_the_given_order(settings):
    data = mixture(settings, "objects365", "vg", "coco")
    assert [data.key(index) for index in range(len(data))] == [
        ("objects365", 3),
        ("objects365", 900461),
        *(("vg", number) for number in (1, 3, 4, 5, 6, 7, 8)),
        *(("coco", number) for number in (3, 5, 6)),
    ]
    assert data.key(-1) == ("coco", 6)
    assert data[0].annotation.file_name.endswith("patch0/objects365_v1_00000003.jpg")
    assert data[len(data) - 1].annotation.file_name == "val2017/000000000006.jpg"
    with pytest.raises(IndexError):
        data[len(data)]


def test_equal_image_ids_of_two_corpora_are_two_images(settings):
    data = mixture(settings, "objects365", "vg", "coco")
    keys = [data.key(index) for index in range(len(data))]
    of_three = [index for index, (_, image) in enumerate(keys) if image == 3]
    assert len(of_three) == 3
    assert len(set(keys)) == len(data)
    assert len({data[index].annotation.file_name for index in of_three}) == 3


def test_counts_of_names_add_up_after_the_threshold_with_images_that_are_dropped(settings):
    data = mixture(settings, "vg", "coco")
    parts = [SceneGraphs(**settings["vg"], names=None).names, coco(settings).names]
    for kind in ("object", "relation"):
        added = {}
        for part in parts:
            for name, count in zip(getattr(part, f"{kind}s"), getattr(part, f"{kind}_counts").tolist(), strict=True):
                added[name] = added.get(name, 0) + count
        names, counts = getattr(data.names, f"{kind}s"), getattr(data.names, f"{kind}_counts").tolist()
        assert dict(zip(names, counts, strict=True)) == added
        assert counts == sorted(counts, reverse=True)
    counted = dict(zip(data.names.objects, data.names.object_counts.tolist(), strict=True))
    assert counted["man"] == 8 + 4  # image 4 of COCO has no relation left and counts
    assert "near" not in data.names.relations  # below the threshold


def test_equal_counts_stay_in_the_order_of_the_parts():
    parts = [
        NameCounts(("b", "a"), np.array([3, 1]), ("x",), np.array([1])),
        NameCounts(("c", "a", "d"), np.array([3, 2, 1]), ("y", "x"), np.array([2, 1])),
    ]
    names = NameCounts.sum(parts)
    assert (names.objects, names.object_counts.tolist()) == (("b", "a", "c", "d"), [3, 3, 3, 1])
    assert (names.relations, names.relation_counts.tolist()) == (("x", "y"), [2, 2])


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.2, {3: ["holding", "flying"], 5: ["pulling", "holding", "on"], 6: ["walking"]}),
        (0.005, {3: ["holding", "flying", "near"], 4: ["on", "on"], 5: ["pulling", "holding", "on"], 6: ["walking"]}),
        (0.65, {3: ["flying"], 5: ["holding"], 6: ["walking"]}),
    ],
)
def test_the_threshold_is_for_pseudo_labels(settings, threshold, expected):
    data = mixture(settings, "coco", "hico", relation_threshold=threshold)
    assert predicates(data.parts["coco"]) == expected
    assert len(data.parts["hico"]) == 2


def test_the_first_hundred_relations_count_in_file_order(settings, tmp_path):
    record = coco_graphs()[0]
    many = [
        {**record["relationships"][0], "predicate": f"p{row}", "confidence": 0.2 + row / 1000} for row in range(120)
    ]
    write_json(tmp_path / COCO_FILE, [record | {"relationships": many}])
    (tmp_path / "train2017").symlink_to(f"{settings['coco']['root']}/train2017")
    part = SceneGraphs(tmp_path, annotations=COCO_FILE, names=None, max_relations=100)
    assert predicates(part)[3] == [f"p{row}" for row in range(100)]
    assert len(part.names.relations) == 120  # counted before the cut


def test_pairs_that_do_not_overlap_go_where_asked_for(settings):
    assert predicates(coco(settings, pair_overlap=True))[3] == ["holding"]
    assert "flying" not in coco(settings, pair_overlap=True).names.relations
    assert predicates(coco(settings))[3] == ["holding", "flying"]


def test_boxes_that_only_touch_do_not_overlap(tmp_path):
    record = coco_graphs()[0]
    for row, x in enumerate((0, 10, 9)):
        record["objects"][row].update({"x": x, "y": 0, "w": 10, "h": 10})
    record["relationships"] = [
        dict(record["relationships"][0], object_id=row["object_id"]) for row in record["objects"]
    ]
    write_json(tmp_path / "annotations/a.json", [record])
    (tmp_path / "train2017").mkdir()
    (tmp_path / "train2017/000000000003.jpg").touch()
    part = SceneGraphs(tmp_path, annotations="annotations/a.json", names=None, pair_overlap=True)
    assert part.records.relations[:, 1].tolist() == [0, 2]


def test_images_are_excluded_by_id_name_or_file(settings, tmp_path):
    assert sorted(predicates(coco(settings, exclude_ids=[3, 99]))) == [4, 5, 6]
    hico = SceneGraphs(**settings["hico"], names=None, exclude_ids=["HICO_train2015_00000001.jpg"])
    assert hico.records.file_names == ("images/train2015/HICO_train2015_00000002.jpg",)
    write_json(tmp_path / "ids.json", [3, "000000000005.jpg"])
    data = coco(settings, exclude_ids=tmp_path / "ids.json")
    assert sorted(predicates(data)) == [4, 6]
    assert data.names.relation_counts.sum() == coco(settings).names.relation_counts.sum()


def test_wrong_lists_of_excluded_images_are_refused(settings, tmp_path):
    with pytest.raises(ValueError, match="exclude_ids holds 1, but image ids are names in this corpus"):
        SceneGraphs(**settings["hico"], names=None, exclude_ids=[1])
    write_json(tmp_path / "ids.json", {"3": 1})
    with pytest.raises(ValueError, match=r"ids.json: not a list of image ids"):
        coco(settings, exclude_ids=tmp_path / "ids.json")


def test_a_part_of_a_mixture_keeps_its_order_and_counts(settings):
    data = mixture(settings, "vg", "coco", "hico")
    part = data.select(np.array([8, 0, 10]))
    assert [part.key(index) for index in range(3)] == [("vg", 1), ("coco", 5), ("hico", 0)]
    assert part.names is data.names
    assert part.related.tolist() == [True] * 3
    assert len(data.select(np.array([], int))) == 0
    empty_first = data.select(np.array([9]))
    assert empty_first.key(0) == ("coco", 6)


def test_without_corpora_there_is_no_mixture():
    with pytest.raises(ValueError, match="a mixture of no corpora"):
        SceneGraphMixture({})
