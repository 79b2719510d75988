import pytest
import torch
from PIL import Image

from rlipv2.structures import Annotation
from rlipv2.visualize import annotation_triplets, contact_sheet, correct_triplets, draw_comparison, image_grid
from rlipv2.visualize import comparison as comparison_module
from rlipv2.visualize.canvas import Text
from tests.visualize.scenes import NONE, SPACE, A, B, random_triplets, triplets

WHITE = Image.new("RGB", (160, 120), "white")


def test_annotation_becomes_triplets_with_missing_objects():
    boxes = torch.tensor([A, B], dtype=torch.float32)
    annotation = Annotation(1, "1.jpg", boxes, torch.tensor([0, 1]), torch.tensor([[0, 1, 0], [0, -1, 1]]))
    first, second = annotation_triplets(annotation, SPACE)
    assert (first.subject, first.relation, first.object, first.object_box) == ("person", "ride", "horse", B)
    assert (second.relation, second.object_box) == ("hold", NONE)


def test_prediction_is_right_once_with_both_boxes_and_all_names():
    labelled = triplets([(A, B, 0), (A, NONE, 1)])
    near = (12, 12, 52, 102)
    predicted = triplets([(near, B, 0), (A, B, 0), (A, B, 1), (A, NONE, 1), ((100, 10, 140, 100), B, 0)])
    assert correct_triplets(predicted, labelled) == [0, None, None, 1, None]


def test_the_class_missing_objects_counts_as_no_object():
    space = type(SPACE)(objects=("person", "missing objects"), relations=("ride", "walk"))
    annotation = Annotation(
        1, "a.jpg", torch.tensor([A], dtype=torch.float32), torch.tensor([0]), torch.tensor([[0, -1, 1]])
    )
    labelled = annotation_triplets(annotation, space)
    assert [(t.object, t.object_box) for t in labelled] == [("missing objects", NONE)]
    assert correct_triplets(triplets([(A, B, 1)], space=space), labelled) == [0]


def test_comparison_marks_right_and_wrong(monkeypatch):
    texts = []
    paint = comparison_module.paint
    monkeypatch.setattr(
        comparison_module,
        "paint",
        lambda picture, items: (
            texts.extend(item.text for item in items if isinstance(item, Text)),
            paint(picture, items),
        )[1],
    )
    picture = draw_comparison(WHITE, triplets([(A, B, 0), (A, B, 1)], [0.9, 0.8]), triplets([(A, B, 0), (A, NONE, 2)]))
    assert texts == [
        "predicted",
        "✓ 0.90  person ride horse",
        "✗ 0.80  person hold horse",
        "labelled",
        "✓ person ride horse",
        "· person no interaction",
    ]
    assert picture.width == 890
    texts.clear()
    draw_comparison(WHITE, triplets([]), triplets([]))
    assert texts[1::2] == ["nothing predicted", "nothing labelled"]


def test_sheet_holds_all_images_and_replaces_the_old_file(tmp_path):
    path = tmp_path / "new" / "sheet.png"
    arguments = [WHITE] * 3, [triplets([(A, B, 0)]), triplets([]), random_triplets(30)], [triplets([(A, B, 0)])] * 3
    contact_sheet(*arguments, path, scores={"mAP full": 0.5, "mAP rare": float("nan")}, title="T" * 300, top=3)
    with Image.open(path) as sheet:
        width, height = sheet.size
    contact_sheet(*arguments, path, columns=1)
    with Image.open(path) as sheet:
        assert sheet.width < width
        assert sheet.height > height
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]


def test_sheet_needs_one_of_each(tmp_path):
    with pytest.raises(ValueError, match="one of each per image"):
        contact_sheet([WHITE], [], [triplets([])], tmp_path / "s.png")
    with pytest.raises(ValueError, match="one caption per image"):
        image_grid([WHITE], [], tmp_path / "s.png", title="")


def test_grid_has_a_caption_per_image(tmp_path):
    path = image_grid([WHITE] * 8, ["caption"] * 8, tmp_path / "grid.png", title="Grid", columns=3)
    with Image.open(path) as grid:
        assert grid.height > grid.width * 0.9
