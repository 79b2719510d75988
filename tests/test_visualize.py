import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from rlipv2.structures import Annotation, LabelSpace, Triplets
from rlipv2.visualize import (
    _font,
    _free_place,
    _touch,
    annotation_triplets,
    contact_sheet,
    correct_triplets,
    draw_triplets,
    image_grid,
    to_image,
)

SPACE = LabelSpace(objects=("person", "horse", "bottle"), relations=("ride", "hold", "no interaction"))
WHITE = Image.new("RGB", (160, 120), "white")


def triplets(rows, scores=None):
    """Rows (subject box, object box, relation); persons and horses."""
    n = len(rows)
    return Triplets(
        subject_boxes=torch.tensor([row[0] for row in rows], dtype=torch.float32).reshape(-1, 4),
        object_boxes=torch.tensor([row[1] for row in rows], dtype=torch.float32).reshape(-1, 4),
        subject_labels=torch.zeros(n, dtype=torch.int64),
        object_labels=torch.ones(n, dtype=torch.int64),
        relation_labels=torch.tensor([row[2] for row in rows], dtype=torch.int64),
        scores=torch.tensor(scores if scores is not None else [0.5] * n),
        label_space=SPACE,
    )


def random_triplets(n):
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(n, 8, generator=generator) * 150
    return triplets([(row[:4].tolist(), row[4:].tolist(), k % 3) for k, row in enumerate(boxes)])


A, B, NONE = (10, 10, 50, 100), (60, 20, 140, 110), (0, 0, 0, 0)


@pytest.mark.parametrize("count", [0, 1, 5, 300])
def test_any_number_of_triplets_can_be_drawn(count):
    picture = draw_triplets(WHITE, random_triplets(count), min_short_side=240)
    assert picture.size == (320, 240)
    assert (np.asarray(picture) != 255).any() == (count > 0)


@pytest.mark.parametrize("boxes", [(A, NONE), (A, A), ((-50, -50, 500, 500), B), ((50, 50, 50, 50), B)])
def test_odd_boxes_can_be_drawn(boxes):
    assert (np.asarray(draw_triplets(WHITE, triplets([(*boxes, 0)]))) != 255).any()


def test_large_images_keep_their_size_unless_asked():
    large = Image.new("RGB", (900, 600))
    assert draw_triplets(large, triplets([])).size == (900, 600)
    assert draw_triplets(large, triplets([]), long_side=300).size == (300, 200)


def test_subject_boxes_are_drawn_where_they_are():
    drawn = np.asarray(draw_triplets(WHITE, triplets([(A, NONE, 0)]), min_short_side=120)).astype(int)
    coloured = np.abs(drawn - (0, 114, 178)).sum(-1) < 10
    assert coloured[30:90, 8:12].any(axis=1).all()
    assert coloured[8:12, 15:45].any(axis=0).all()


def test_labels_keep_clear_of_each_other_and_stay_inside():
    font, taken = _font(13), []
    for _ in range(40):
        place = _free_place((60.0, 12.0), font, (150.0, 5.0), (320, 240), taken, [])
        if place is None:
            break
        assert 0 <= place[0] < place[2] <= 320
        assert 0 <= place[1] < place[3] <= 240
        assert not any(_touch(place, other) for other in taken)
        taken.append(place)
    assert len(taken) > 10


def test_label_without_room_is_left_out_and_counted():
    assert _free_place((400.0, 12.0), _font(13), (0.0, 0.0), (320, 240), [], []) is None
    assert _free_place((60.0, 12.0), _font(13), (0.0, 0.0), (320, 240), [(0, 0, 320, 240)], []) is None


def test_relations_of_one_pair_share_a_label(monkeypatch):
    texts = []
    original = ImageDraw.ImageDraw.multiline_text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "multiline_text",
        lambda self, xy, text, **k: (texts.append(text), original(self, xy, text, **k)),
    )
    draw_triplets(WHITE, triplets([(A, B, 0), (A, B, 1), (B, A, 2)], [0.9, 0.8, 0.7]))
    assert texts == ["ride horse 0.90\nhold horse 0.80", "no interaction horse 0.70"]


def test_images_come_as_tensors_paths_and_pictures(tmp_path):
    pixels = torch.arange(3 * 4 * 5, dtype=torch.uint8).reshape(3, 4, 5)
    picture = to_image(pixels)
    picture.save(tmp_path / "p.png")
    np.testing.assert_array_equal(np.asarray(to_image(tmp_path / "p.png")), pixels.permute(1, 2, 0).numpy())
    with pytest.raises(TypeError, match="uint8"):
        to_image(pixels.float())


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


def test_the_class_missing_objects_counts_as_no_object():
    space = LabelSpace(objects=("person", "missing objects"), relations=("ride", "walk"))
    annotation = Annotation(
        1, "a.jpg", torch.tensor([A], dtype=torch.float32), torch.tensor([0]), torch.tensor([[0, -1, 1]])
    )
    labelled = annotation_triplets(annotation, space)
    assert [(t.object, t.object_box) for t in labelled] == [("missing objects", NONE)]
    predicted = dataclasses.replace(labelled, object_boxes=torch.tensor([B], dtype=torch.float32))
    assert correct_triplets(predicted, labelled) == [0]
    pictures = [np.asarray(draw_triplets(WHITE, shown, show_scores=False)) for shown in (predicted, labelled)]
    np.testing.assert_array_equal(*pictures)
