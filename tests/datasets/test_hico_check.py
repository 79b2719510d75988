import json
import shutil

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from rlipv2.datasets.__main__ import main
from rlipv2.datasets.hico.check import check_hico
from rlipv2.datasets.report import Report
from tests.fakes import Scene, hico_scenes, write_hico, write_image

TRAIN = "annotations/trainval_hico.json"
IMAGE = "images/train2015/HICO_train2015_00000001.jpg"
# a miniature never has the numbers of the release
EXPECTED_WARNINGS = {"number of images", "relations of each interaction"}


@pytest.fixture
def folder(tmp_path):
    return write_hico(tmp_path)


def edit(folder, change, name=TRAIN):
    records = json.loads((folder / name).read_text())
    change(records)
    (folder / name).write_text(json.dumps(records))
    return folder


def findings(folder, part="train", **options):
    """What is not in order in one split, by name."""
    report = check_hico(folder, **options)
    return {
        finding.what: finding
        for finding in report.findings
        if finding.part == part and finding.level != "ok" and finding.what not in EXPECTED_WARNINGS
    }


def only(found):
    assert len(found) == 1, found
    return next(iter(found.values()))


@pytest.mark.parametrize("kind", ["ppdm", "mat", "hicodet_json"])
@pytest.mark.parametrize("part", ["train", "test", "both"])
def test_a_sound_miniature_has_no_findings(tmp_path, kind, part):
    assert findings(write_hico(tmp_path, kind=kind), part, decode="all") == {}


def test_numbers_that_are_not_those_of_the_release_are_a_warning(folder):
    report = check_hico(folder)
    totals = [finding for finding in report.findings if finding.what in EXPECTED_WARNINGS]
    assert {finding.level for finding in totals} == {"warning"}
    assert totals[0].offenders == ("6 images, the release has 38,118",)
    assert totals[1].offenders[0] == "10 relations in all, the release has 117,871"


def test_a_missing_folder_is_an_error(tmp_path):
    found = only(findings(tmp_path, "both"))
    assert found.level == "error"
    assert "unpack" in found.offenders[0]


def test_missing_annotations_are_an_error_of_their_split(folder):
    (folder / TRAIN).unlink()
    assert only(findings(folder)).level == "error"
    assert findings(folder, "test") == {}


def test_missing_images_are_listed(folder):
    (folder / IMAGE).unlink()
    found = only(findings(folder))
    assert (found.what, found.level, found.count) == ("images are there", "error", 1)
    assert found.offenders == ("HICO_train2015_00000001.jpg",)


def test_a_missing_image_folder_is_an_error(folder):
    shutil.rmtree(folder / "images/train2015")
    assert only(findings(folder)).what == "image folder"


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1", b"<html></html>"])
def test_files_that_are_no_images_are_errors(folder, content):
    (folder / IMAGE).write_bytes(content)
    found = only(findings(folder))
    assert (found.what, found.level) == ("images are images", "error")


def cut_off(folder):
    write_image(folder / IMAGE, (48, 64), quality=95)
    content = (folder / IMAGE).read_bytes()
    (folder / IMAGE).write_bytes(content[: len(content) * 2 // 3])
    return folder


def test_images_that_do_not_decode_are_errors(folder):
    found = only(findings(cut_off(folder), decode="all"))
    assert (found.what, found.level) == ("6 images decode", "error")
    assert IMAGE in found.offenders[0]


@pytest.mark.parametrize(("decode", "count"), [("all", 6), ("2", 2), ("0.5", 3), ("0", 0), ("99", 6), ("1.0", 6)])
def test_decode_takes_a_number_a_fraction_or_all(folder, decode, count):
    rows = [finding.what for finding in check_hico(folder, decode=decode).findings if finding.part == "train"]
    assert f"{count} images decode" in rows


@pytest.mark.parametrize("decode", ["half", "-1", "nan"])
def test_other_amounts_to_decode_are_refused(folder, decode):
    with pytest.raises(ValueError, match="decode="):
        check_hico(folder, decode=decode)


def test_sixteen_bit_images_are_errors(folder):
    Image.fromarray(np.full((48, 64), 1000, np.uint16)).save(folder / IMAGE, format="PNG")
    assert only(findings(folder)).what == "images are images"


def test_a_wrong_extension_is_a_warning(folder):
    write_image(folder / IMAGE, (48, 64), format="PNG")
    found = only(findings(folder, decode="all"))
    assert (found.level, found.offenders) == ("warning", ("HICO_train2015_00000001.jpg: PNG",))


def test_exif_rotation_is_a_warning(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    write_image(folder / IMAGE, (48, 64), exif=exif)
    found = only(findings(folder))
    assert (found.what, found.level) == ("images without EXIF rotation", "warning")


def test_other_sizes_than_annotated_are_errors(tmp_path):
    folder = write_hico(tmp_path, kind="hicodet_json")
    write_image(folder / IMAGE, (96, 128))
    found = only(findings(folder))
    assert found.what == "sizes agree with the annotations"
    assert found.offenders == ("HICO_train2015_00000001.jpg: file (96, 128), annotation (48, 64) (h, w)",)


def test_rotated_sizes_get_a_hint(tmp_path):
    folder = write_hico(tmp_path, kind="mat")
    write_image(folder / IMAGE, (64, 48))
    assert "as if rotated by EXIF" in findings(folder)["sizes agree with the annotations"].offenders[0]


def box(values):
    return lambda records: records[0]["annotations"][0].update(bbox=values)


@pytest.mark.parametrize("values", [[5, 5, 5, 9], [9, 9, 5, 5]])
def test_boxes_without_area_are_warnings(folder, values):
    found = only(findings(edit(folder, box(values))))
    assert (found.what, found.level, found.count) == ("boxes have an area", "warning", 1)
    assert found.offenders == (f"record 0 (image HICO_train2015_00000001.jpg): box 0 = {[float(v) for v in values]}",)


def many_boxes(folder, outside):
    """Thirty more boxes, of which some reach outside."""

    def change(records):
        records[0]["annotations"] += [{"bbox": [1, 1, 9 + index, 9], "category_id": 1} for index in range(30)]
        records[0]["annotations"] += [{"bbox": [40, 1, 90, 9 + index], "category_id": 1} for index in range(outside)]

    return edit(folder, change)


def test_a_box_far_outside_is_a_warning_and_many_are_an_error(folder):
    found = only(findings(many_boxes(folder, 1)))
    assert (found.what, found.level, found.count) == ("boxes lie inside the image", "warning", 1)
    found = only(findings(many_boxes(folder, 20)))
    assert found.level == "error"
    assert "x, y, width, height" in found.note


def test_boxes_a_little_outside_are_counted(folder):
    edit(folder, box([0, 0, 65, 20]))
    row = next(f for f in check_hico(folder).findings if f.what == "boxes reach over the edge a little")
    assert (row.level, row.count) == ("ok", 1)


def test_training_boxes_that_count_from_one_are_a_warning(folder):
    def change(records):
        for record in records:
            for annotated in record["annotations"]:
                annotated["bbox"] = [max(value, 1) for value in annotated["bbox"]]
        records[0]["annotations"][0]["bbox"] = [1, 1, 64, 48]

    found = only(findings(edit(folder, change)))
    assert (found.what, found.level) == ("boxes seem to count from 1", "warning")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (box([1, 2, float("nan"), 4]), "not finite"),
        (box(["1", "2", "3", "4"]), "not four numbers"),
        (lambda r: r[0]["annotations"][0].update(category_id=12), "unknown class id"),
        (lambda r: r[0]["hoi_annotation"][0].update(category_id=0), "count from 0"),
        (lambda r: r[0]["hoi_annotation"][0].update(object_id=-1), "no relation without object"),
    ],
)
def test_values_that_cannot_be_used_are_errors(folder, change, message):
    found = only(findings(edit(folder, change)))
    assert found.level == "error"
    assert message in found.offenders[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [("version https://git-lfs.github.com/spec/v1", "LFS"), ("<html>", "web page"), ('[{"file_name"', "cut off")],
)
def test_annotation_files_that_are_something_else_are_errors(folder, content, message):
    (folder / TRAIN).write_text(content)
    assert message in only(findings(folder)).offenders[0]


def test_relations_to_missing_boxes_are_tolerated_up_to_a_rate(folder):
    edit(folder, lambda records: records[0]["hoi_annotation"][0].update(object_id=50))
    assert only(findings(folder)).level == "error"
    found = only(findings(folder, max_skip_rate=0.2))
    assert (found.level, found.note) == ("warning", "training leaves these 1 images out")


def test_relations_to_missing_boxes_are_never_tolerated_in_test(folder):
    edit(folder, lambda records: records[0]["hoi_annotation"][0].update(object_id=50), "annotations/test_hico.json")
    assert only(findings(folder, "test", max_skip_rate=1.0)).level == "error"


def test_subjects_that_are_no_people_are_warnings(folder):
    edit(folder, lambda records: records[0]["hoi_annotation"][-1].update(subject_id=1))
    found = only(findings(folder))
    assert (found.what, found.level) == ("subjects are people", "warning")


def test_combinations_that_do_not_exist_are_warnings(folder):
    def change(records):
        records[2]["hoi_annotation"][0].update(category_id=117)  # zip a person
        del records[2]["hoi_annotation"][0]["hoi_category_id"]

    assert only(findings(edit(folder, change))).what == "verb and object are an interaction"


def test_interaction_ids_of_another_base_are_warnings(folder):
    edit(folder, lambda records: records[0]["hoi_annotation"][0].update(hoi_category_id=600))
    assert only(findings(folder)).what == "hoi_category_id agrees with verb and object"


def test_images_listed_twice_are_a_warning(folder):
    edit(folder, lambda records: records.append(records[0]))
    assert only(findings(folder)).what == "images listed once"


def test_duplicate_boxes_and_relations_are_counted(folder):
    def change(records):
        records[0]["annotations"].append(records[0]["annotations"][0])
        records[0]["hoi_annotation"].append(records[0]["hoi_annotation"][0])

    rows = {f.what: f for f in check_hico(edit(folder, change)).findings if f.part == "train"}
    for what in ("boxes listed once", "relations listed once"):
        assert (rows[what].level, rows[what].count) == ("ok", 1)


def test_images_without_boxes_are_counted(folder):
    rows = {f.what: f for f in check_hico(folder).findings if f.part == "train"}
    assert (rows["images without boxes"].level, rows["images without boxes"].count) == ("ok", 1)
    assert rows["images in other modes than RGB"].count == 1


def test_images_in_both_splits_are_errors(tmp_path):
    train = hico_scenes("train", 3)
    test = [Scene(train[0].file_name, train[0].size, train[0].pairs)]
    found = only(findings(write_hico(tmp_path, scenes={"train": train, "test": test}), "both"))
    assert (found.level, found.offenders) == ("error", (train[0].file_name,))


# --- report and command ---


def test_the_report_shows_twenty_offenders():
    report = Report()
    report.add("train", "images are there", offenders=[f"{number}.jpg" for number in range(50)], note="[copy] them")
    console = Console(record=True, width=120)
    report.print(console)
    text = console.export_text()
    assert "19.jpg" in text
    assert "20.jpg" not in text
    assert "[copy] them" in text
    assert "0 ok, 0 warning, 1 error" in text


def test_the_command_exits_with_one_on_errors(folder, capsys):
    assert main(["check", "hico", str(folder), "--decode", "all"]) == 0
    (folder / IMAGE).unlink()
    assert main(["check", "hico", str(folder)]) == 1
    assert "HICO_train2015_00000001.jpg" in capsys.readouterr().out


def test_the_command_exits_with_two_on_wrong_options(folder, capsys):
    assert main(["check", "hico", str(folder), "--decode", "half"]) == 2
    assert "decode='half'" in capsys.readouterr().err
