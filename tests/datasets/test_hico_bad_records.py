import json
from pathlib import Path

import numpy as np
import pytest

from rlipv2.datasets import AnnotationError, read_annotations
from tests.fakes import hico_scenes, ppdm_record


def read(tmp_path, edit, *, count=3):
    records = [ppdm_record(scene, 0) for scene in hico_scenes("train", count)]
    edit(records)
    path = Path(tmp_path) / "trainval_hico.json"
    path.write_text(json.dumps(records))
    return read_annotations(path, "train")


def box_1(**changes):
    return lambda records: records[1]["annotations"][1].update(changes)


def hoi_1(**changes):
    return lambda records: records[1]["hoi_annotation"][0].update(changes)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (box_1(bbox=[1, 2, float("nan"), 4]), r"annotations\[1\].bbox=\[1, 2, nan, 4\]: not finite"),
        (box_1(bbox=[1, 2, float("inf"), 4]), "not finite"),
        (box_1(bbox=["1", "2", "3", "4"]), "not four numbers"),
        (box_1(bbox=[1, 2, None, 4]), "not four numbers"),
        (box_1(bbox=[1, 2, True, 4]), "not four numbers"),
        (box_1(bbox=[1, 2, 3]), "not a list of four numbers"),
        (box_1(bbox="1 2 3 4"), "not a list of four numbers"),
        (box_1(category_id="1"), r"annotations\[1\].category_id='1': not an integer"),
        (box_1(category_id=1.0), "not an integer"),
        (box_1(category_id=12), "category_id=12: unknown class id; expected one of the 80 COCO ids"),
        (box_1(category_id=91), "category_id=91: unknown class id"),
        (box_1(category_id=0), "category_id=0: unknown class id"),
        (hoi_1(category_id=118), r"hoi_annotation\[0\].category_id=118: unknown verb id; expected 1..117"),
        (hoi_1(category_id=0), "ids of this file seem to count from 0"),
        (hoi_1(hoi_category_id=601), "hoi_category_id=601: unknown interaction id"),
        (hoi_1(object_id=-1), "object_id=-1: not a row of annotations; HICO-DET has no relation without object"),
        (hoi_1(subject_id=-1), "subject_id=-1: not a row of annotations"),
        (hoi_1(subject_id="0"), "subject_id='0': not an integer"),
        (lambda records: records[1].pop("annotations"), "annotations=None: missing or not a list"),
        (lambda records: records[1]["annotations"][1].pop("bbox"), r"annotations\[1\]=.*without bbox"),
        (lambda records: records[1]["hoi_annotation"][0].pop("object_id"), "without object_id"),
        (lambda records: records[1].update(file_name=7), "file_name=7: missing or not a name"),
        (lambda records: records[1].update(file_name=""), "file_name='': missing or not a name"),
        (lambda records: records[1].update(hoi_annotation={}), r"hoi_annotation=\{\}: missing or not a list"),
    ],
)
def test_bad_values_name_file_record_and_image(tmp_path, edit, message):
    with pytest.raises(AnnotationError, match=message) as raised:
        read(tmp_path, edit)
    assert f"{tmp_path}/trainval_hico.json: record 1 (image " in str(raised.value)


def test_a_list_of_something_else_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match=r"record 1 .*not an object"):
        read(tmp_path, lambda records: records.__setitem__(1, "a.jpg"))
    with pytest.raises(AnnotationError, match="the list is empty"):
        read(tmp_path, lambda records: records.clear())


def test_further_offenders_are_counted(tmp_path):
    def edit(records):
        for record in records:
            record["annotations"][0]["category_id"] = 83

    with pytest.raises(AnnotationError, match=r"\(and 2 more like it\)"):
        read(tmp_path, edit)


def test_contiguous_class_ids_get_a_hint(tmp_path):
    def edit(records):
        for record in records:
            for box in record["annotations"]:
                box["category_id"] = 0

    with pytest.raises(AnnotationError, match="contiguous class numbers"):
        read(tmp_path, edit)


def test_boxes_as_x_y_width_height_get_a_hint(tmp_path):
    def edit(records):
        for record in records:
            for box in record["annotations"]:
                x1, y1, x2, y2 = box["bbox"]
                box["bbox"] = [x1 + 30, y1, x2 - x1, y2 - y1]

    with pytest.raises(AnnotationError, match="looks like x, y, width, height"):
        read(tmp_path, edit, count=12)


def test_few_negative_boxes_are_noise_and_stay_in_the_records(tmp_path):
    records = read(tmp_path, box_1(bbox=[9, 9, 5, 5]))
    assert (records.boxes[:, 2] < records.boxes[:, 0]).sum() == 1


def test_duplicate_records_and_relations_stay(tmp_path):
    records = read(tmp_path, lambda records: records.append(records[0]))
    assert len(records) == 4
    assert records.image_ids[3] == records.image_ids[0]

    def twice(records):
        records[1]["hoi_annotation"] *= 2

    once = np.diff(read(tmp_path, lambda _: None).relation_ptr)
    assert np.diff(read(tmp_path, twice).relation_ptr).tolist() == [once[0], 2 * once[1], once[2]]


def test_rows_out_of_range_are_left_to_the_split(tmp_path):
    assert read(tmp_path, hoi_1(object_id=99)).relations[:, 1].max() == 99
