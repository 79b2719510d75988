import json

import numpy as np
import pytest
from PIL import Image

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.scene_graphs import SceneGraphs
from rlipv2.pseudo_labels.annotations import RecordIds, image_record, write_annotations, write_store
from rlipv2.pseudo_labels.records import LabelledImage, Tags
from rlipv2.pseudo_labels.validation import validate

NAMES = ["person", "horse"]
IMAGE = LabelledImage(
    image_id=101,
    file_name="folder/a b.png",
    split="train2017",
    size=(480, 640),
    boxes_xywh=np.array([[10, 20, 100, 200], [0, 0, 640, 480], [400, 50, 300, 180]], np.float64),
    labels=np.array([0, 0, 1]),
    crowd=np.array([False, True, False]),
)
TAGS = Tags(np.array([[0, 1], [1, 0]]), ("riding", "under"), np.array([0.25, 0.5], np.float32))


def record(dataset="coco2017", ids=None, image=IMAGE):
    return image_record(image, TAGS, ids or RecordIds.starting(dataset), class_names=NAMES, dataset=dataset)


def test_a_record_is_laid_out_as_the_official_one():
    assert json.dumps(record()) == json.dumps(
        {
            "image_id": 101,
            "dataset": "coco2017",
            "data_split": "train2017",
            "objects": [
                {"object_id": 10000000, "x": 10.0, "y": 20.000001907348633, "w": 100.0, "h": 200.0, "names": "person"},
                {"object_id": 10000001, "x": 400.0, "y": 49.999996185302734, "w": 240.0, "h": 180.0, "names": "horse"},
            ],
            "relationships": [
                {
                    "relationship_id": 10000000,
                    "predicate": "riding",
                    "subject_id": 10000000,
                    "object_id": 10000001,
                    "confidence": 0.25,
                },
                {
                    "relationship_id": 10000001,
                    "predicate": "under",
                    "subject_id": 10000001,
                    "object_id": 10000000,
                    "confidence": 0.5,
                },
            ],
        }
    )


def test_ids_count_on_over_images_and_begin_with_those_of_the_dataset():
    ids = RecordIds.starting("o365")
    assert record("o365", ids)["relationships"][0]["relationship_id"] == 20_000_000
    second = record("o365", ids)
    assert second["objects"][0]["object_id"] == 20_000_002
    assert second["relationships"][0]["relationship_id"] == 20_000_002
    assert record("custom")["objects"][0]["object_id"] == 30_000_000


@pytest.mark.parametrize(
    ("dataset", "file"), [("coco2017", "train2017/000000000101.jpg"), ("custom", "folder/a b.png")]
)
def test_written_records_are_read_for_training(tmp_path, dataset, file):
    (tmp_path / file).parent.mkdir(parents=True)
    Image.new("RGB", (640, 480)).save(tmp_path / file)
    path = tmp_path / "annotations" / "labels.json"
    assert write_annotations(path, [record(dataset)]) == 1
    store = write_store(tmp_path, path)
    data = SceneGraphs(tmp_path, annotations=path)
    assert data._view.folder.name.startswith(store.folder.name)  # the one that was written
    sample = data[0]
    assert sample.label_space.objects == ("person", "horse")
    assert sample.label_space.relations == ("riding", "under")
    assert sample.annotation.relations.tolist() == [[0, 1, 0], [1, 0, 1]]
    assert sample.annotation.boxes_xyxy.numpy() == pytest.approx(
        np.array([[10, 20, 110, 220], [400, 50, 640, 230]]), abs=1e-3
    )
    assert len(SceneGraphs(tmp_path, annotations=path, relation_threshold=0.3).records.relations) == 1


def test_records_of_other_images_need_their_file_name(tmp_path):
    path = tmp_path / "labels.json"
    row = record("custom")
    del row["file_name"]
    write_annotations(path, [row])
    with pytest.raises(AnnotationError, match=r"record 0 \(image 101\): file_name=None: missing"):
        write_store(tmp_path, path)


def test_records_are_written_as_they_come_and_replace_the_file_when_all_are_there(tmp_path):
    path = tmp_path / "labels.json"
    write_annotations(path, [record()])
    before = path.read_bytes()

    def failing():
        yield record()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_annotations(path, failing())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["labels.json"]
    assert write_annotations(path, iter([record(), record()])) == 2
    assert len(json.loads(path.read_text())) == 2
    assert write_annotations(path, []) == 0
    assert json.loads(path.read_text()) == []


def test_scores_that_are_no_number_are_refused(tmp_path):
    tags = Tags(TAGS.pairs, TAGS.texts, np.array([np.nan, 1], np.float32))
    row = image_record(IMAGE, tags, RecordIds(), class_names=NAMES, dataset="custom")
    with pytest.raises(ValueError, match="JSON"):
        write_annotations(tmp_path / "labels.json", [row])
    assert not any(tmp_path.iterdir())


class Known:
    """Images 101, 102, ... of these sizes."""

    def __init__(self, *sizes):
        self.image_ids, self.sizes = np.arange(101, 101 + len(sizes)), sizes

    def size(self, place):
        return self.sizes[place]


def wrong(path, **options):
    """What a check finds, by the words of its row."""
    return {row.what: row.offenders for row in validate(path, **options).of_level("error")}


def test_good_files_pass(tmp_path):
    path = tmp_path / "labels.json"
    write_annotations(path, [record()])
    assert wrong(path, images=Known((480, 640))) == {}


@pytest.mark.parametrize(
    ("change", "what", "told"),
    [
        (lambda r: r.pop("objects"), "fields are there and of their types", "KeyError 'objects'"),
        (lambda r: r["objects"][0].update(x="1"), "fields are there and of their types", "object 10000000"),
        (lambda r: r.update(image_id=102), "image ids are unique and known", "not an image of the dataset"),
        (lambda r: r.update(image_id=[1]), "fields are there and of their types", "TypeError"),
        (
            lambda r: r["objects"][1].update(object_id=10000000),
            "ids are unique, and ends of relations are objects of their record",
            "object_id occurs more than once",
        ),
        (
            lambda r: r["relationships"][0].update(subject_id=5),
            "ids are unique, and ends of relations are objects of their record",
            "subject_id=5",
        ),
        (
            lambda r: r["relationships"][1].update(relationship_id=10000000),
            "ids are unique, and ends of relations are objects of their record",
            "relationship_id occurs more than once",
        ),
        (lambda r: r["objects"][0].update(w=0), "boxes have an area and lie inside the image", "no area"),
        (lambda r: r["objects"][0].update(w=631), "boxes have an area and lie inside the image", "outside"),
        (lambda r: r["objects"][0].update(y=-3), "boxes have an area and lie inside the image", "outside"),
        (lambda r: r["objects"][0].update(names=" "), "names and predicates are not blank", "names=' '"),
        (lambda r: r["relationships"][0].update(predicate=""), "names and predicates are not blank", "predicate=''"),
        (lambda r: r["relationships"][0].update(confidence=1.5), "confidences are from 0 to 1", "confidence=1.5"),
    ],
)
def test_wrong_records_are_named(tmp_path, change, what, told):
    path, row = tmp_path / "labels.json", record()
    change(row)
    write_annotations(path, [row])
    found = wrong(path, images=Known((480, 640)))
    assert what in found
    assert any(told in offender and offender.startswith("record 0 (image ") for offender in found[what])


def test_images_missing_or_repeated_are_named(tmp_path):
    path = tmp_path / "labels.json"
    write_annotations(path, [record(), record()])
    assert wrong(path)["image ids are unique and known"] == ("image 101: repeated",)
    images, what = Known((480, 640), (5, 5)), "every image that could be read has a record"
    found = wrong(path, images=images)
    assert (found["image ids are unique and known"], found[what]) == (("image 101: repeated",), ("102",))
    assert what not in wrong(path, images=images, excused={102})
    write_annotations(path, [record() | {"image_id": "101"}, record() | {"image_id": "101"}, record()])
    assert len(wrong(path)["image ids are unique and known"]) == 1
    write_annotations(path, [])
    assert "file has records" in wrong(path)
    path.write_text('[{"image_id"')
    assert "file can be read" in wrong(path)
