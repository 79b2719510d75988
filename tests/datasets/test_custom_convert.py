import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rlipv2.datasets import AnnotationError
from rlipv2.datasets.__main__ import main
from rlipv2.datasets.custom import read_custom
from rlipv2.datasets.custom.convert import convert_coco
from tests.fakes import write_json


def coco():
    """Two images, three boxes of which one is a crowd, one without area, two relations."""
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 64, "height": 48}, {"id": 9, "file_name": "b.jpg"}],
        "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "ball"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20]},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 64, 48], "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 1, "bbox": [5.5, 6, 4, 4], "iscrowd": 0},
            {"id": 4, "image_id": 9, "category_id": 1, "bbox": [5, 6, 0, 4]},
        ],
        "relations": [
            {"subject_id": 1, "object_id": 3, "name": "chases"},
            {"subject_id": 2, "object_id": 3, "name": "sees"},
            {"subject_id": 4, "object_id": 4, "name": "is"},
        ],
    }


def converted(tmp_path, content, **options):
    write_json(tmp_path / "coco.json", content)
    return convert_coco(tmp_path / "coco.json", tmp_path / "annotations/train.json", **options)


def test_boxes_become_corners_and_ids_positions(tmp_path):
    counts = converted(tmp_path, coco())
    content = read_custom(tmp_path / "annotations/train.json")
    assert content.records.file_names == ("a.jpg", "b.jpg")
    assert content.records.sizes.tolist() == [[48, 64], [0, 0]]
    assert content.records.boxes.tolist() == [[1, 2, 11, 22], [5.5, 6, 9.5, 10]]
    assert [content.objects[label] for label in content.records.labels] == ["dog", "ball"]
    assert content.records.relations.tolist() == [[0, 1, 0]]
    assert content.relations == ("chases",)
    counted = {key: value for key, value in counts.items() if not key.startswith("source")}
    assert counted == {
        "images": 2,
        "boxes": 2,
        "crowds left out": 1,
        "boxes without area left out": 1,
        "relations": 1,
        "relations of crowds left out": 1,
        "relations of boxes without area left out": 1,
    }


def test_relations_may_be_a_file_of_their_own(tmp_path, capsys):
    content = coco()
    write_json(tmp_path / "relations.json", content.pop("relations"))
    write_json(tmp_path / "coco.json", content)
    target = tmp_path / "annotations/val.json"
    arguments = ["convert", "custom", str(tmp_path / "coco.json"), str(target)]
    assert main(arguments) == 2
    assert "no list 'relations'" in capsys.readouterr().err
    assert main([*arguments, "--relations", str(tmp_path / "relations.json")]) == 0
    assert len(read_custom(target).records.relations) == 1


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.pop("categories"), "no list 'categories'"),
        (lambda c: c["annotations"][0].pop("bbox"), r"record 0 \(image of annotations\): entry=.*without bbox"),
        (
            lambda c: c["annotations"][2].update(category_id=99),
            "record 2 .*category_id=99: unknown id; expected",
        ),
        (lambda c: c["annotations"][2].update(image_id=[7]), "image_id=.7.: unknown id"),
        (lambda c: c["annotations"][2].update(id=1), "record 2 .*id=1: used before"),
        (lambda c: c["images"][1].update(id=7), "of images.*id=7: used before"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 3]), "bbox=.*not four finite numbers"),
        (lambda c: c["annotations"][0].update(bbox="1 2 3 4"), "not four finite numbers"),
        (lambda c: c["relations"][0].update(subject_id=55), "of relations.*subject_id=55: unknown id"),
        (lambda c: c["annotations"][2].update(image_id=9), "these annotations are in the images 7 and 9"),
        (lambda c: c["relations"][0].update(name=3), r"relations\[0\].name=3: is not a string"),
        (lambda c: c["images"][1].update(file_name="a.jpg"), "listed in record 0 already"),
    ],
)
def test_bad_sources_are_refused_and_nothing_is_written(tmp_path, edit, message):
    content = coco()
    edit(content)
    with pytest.raises(AnnotationError, match=message):
        converted(tmp_path, content)
    assert not (tmp_path / "annotations").exists()


def test_a_list_is_no_source(tmp_path):
    (tmp_path / "coco.json").write_text(json.dumps([1]))
    with pytest.raises(AnnotationError, match="no list 'images'"):
        convert_coco(tmp_path / "coco.json", tmp_path / "out.json")


def documented(language, start):
    """A code block of docs/custom_data.md by its first characters."""
    text = (Path(__file__).parents[2] / "docs/custom_data.md").read_text()
    blocks = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    return next(block for block in blocks if block.startswith(start))


def test_the_documented_script_converts_a_table(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(
        "image,subject,x1,y1,x2,y2,relation,object,u1,v1,u2,v2\n"
        "a.jpg,person,1,2,30,40,rides,bicycle,5,20,40,45.5\n"
        "a.jpg,person,1,2,30,40,holds,bicycle,5,20,40,45.5\n"
        "b.jpg,dog,1,2,30,40,sees,person,5,20,40,45\n"
    )
    target = tmp_path / "annotations/train.json"
    target.parent.mkdir()
    subprocess.run([sys.executable, "-c", documented("python", "import csv"), table, target], check=True)
    content = read_custom(target)
    assert content.records.file_names == ("a.jpg", "b.jpg")
    assert content.records.boxes[:2].tolist() == [[1, 2, 30, 40], [5, 20, 40, 45.5]]
    assert content.records.relations.tolist() == [[0, 1, 1], [0, 1, 0], [0, 1, 2]]


def test_the_documented_file_is_read(tmp_path):
    path = tmp_path / "annotations/train.json"
    write_json(path, json.loads(documented("json", "{")))
    content = read_custom(path)
    assert (content.objects, content.relations) == (("person", "bicycle"), ("riding", "next to"))
    assert content.records.relations.tolist() == [[0, 1, 0]]
    assert not content.ignored
