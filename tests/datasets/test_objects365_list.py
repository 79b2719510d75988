import json

import pytest

from rlipv2.datasets import AnnotationError
from rlipv2.datasets.__main__ import main
from rlipv2.datasets.detection.image_list import write_image_list
from tests.fakes import write_json
from tests.fakes_detection import annotation_path, instances, stored_path, write_detection


def test_images_of_both_splits_are_listed_but_those_without_a_file(tmp_path, capsys):
    root = write_detection(tmp_path, "objects365")
    expected = {
        str(image["id"]): stored_path(split, "objects365", image["file_name"])
        for split, count in (("train", 6), ("val", 4))
        for image in instances(split, "objects365", count)["images"]
    }
    gone = expected.pop("12")
    (root / gone).unlink()
    target = root / "image_id_to_filepath.json"
    assert main(["convert", "objects365", str(root), str(target)]) == 0
    assert json.loads(target.read_text()) == expected
    assert "9 images listed, 1 without a file" in " ".join(capsys.readouterr().out.split())


def test_wrong_records_are_named(tmp_path):
    root = write_detection(tmp_path, "objects365")
    content = instances("val", "objects365", 4)
    content["images"][2].pop("id")
    write_json(root / annotation_path("val", "objects365"), content)
    with pytest.raises(AnnotationError, match=r"zhiyuan_objv2_val.json: images\[2\] has no id"):
        write_image_list(root, root / "list.json")
