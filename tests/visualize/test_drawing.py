import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from rlipv2.structures import LabelSpace
from rlipv2.visualize import draw_triplets, to_image
from tests.visualize.scenes import NONE, A, B, random_triplets, triplets

WHITE = Image.new("RGB", (160, 120), "white")


@pytest.mark.parametrize("count", [0, 1, 5, 120])
def test_any_number_of_triplets_can_be_drawn(count):
    picture = draw_triplets(WHITE, random_triplets(count), min_short_side=240, legend=False)
    assert picture.size == (320, 240)
    assert (np.asarray(picture) != 255).any() == (count > 0)


def test_what_has_no_place_is_listed_or_counted():
    many = random_triplets(60)
    listed, counted = (
        draw_triplets(WHITE, many, min_short_side=240),
        draw_triplets(WHITE, many, min_short_side=240, legend=False),
    )
    assert listed.height > 240
    assert counted.size == (320, 240)
    corner = np.asarray(counted)[-8:, -30:] != np.asarray(listed)[232:240, 290:320]
    assert corner.any()


@pytest.mark.parametrize("boxes", [(A, NONE), (A, A), ((-50, -50, 500, 500), B), ((50, 50, 50, 50), B), (B[::-1], A)])
def test_odd_boxes_can_be_drawn(boxes):
    assert (np.asarray(draw_triplets(WHITE, triplets([(*boxes, 0)]))) != 255).any()


@pytest.mark.parametrize(
    ("size", "shown"), [((64, 64), (420, 420)), ((900, 600), (900, 600)), ((20, 900), (36, 1600)), ((1, 1), (420, 420))]
)
def test_small_images_are_enlarged_large_ones_are_not(size, shown):
    assert draw_triplets(Image.new("RGB", size), triplets([])).size == shown
    assert max(draw_triplets(Image.new("RGB", size), triplets([]), long_side=300).size) == 300


def test_boxes_are_drawn_where_they_are():
    drawn = np.asarray(draw_triplets(WHITE, triplets([(A, NONE, 0)]), min_short_side=120)).astype(int)
    coloured = np.abs(drawn - (0, 114, 178)).sum(-1) < 40
    assert coloured[30:80, 8:13].any(axis=1).all()
    assert coloured[30:80, 48:53].any(axis=1).all()
    assert not coloured[:, 90:].any()


def test_boxes_follow_the_size_of_a_copy():
    found = dataclasses.replace(triplets([(A, B, 0)]), image_size=(120, 160))
    np.testing.assert_array_equal(
        np.asarray(draw_triplets(WHITE.resize((40, 30)), found, long_side=320)),
        np.asarray(draw_triplets(WHITE, found, long_side=320)),
    )
    with pytest.raises(ValueError, match="160 x 120 pixels, this one has 120 x 160"):
        draw_triplets(WHITE.rotate(90, expand=True), found)


def test_pictures_are_deterministic_and_the_image_stays_as_it_was():
    image = Image.new("RGB", (500, 500), "grey")
    first, second = (draw_triplets(image, random_triplets(20, (500, 500), things=6)) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert image.tobytes() == Image.new("RGB", (500, 500), "grey").tobytes()


def test_large_pictures_are_painted_strip_by_strip_without_seams():
    found = triplets([((100, 100, 300, 2900), (1500, 200, 1900, 2800), 0)])
    tall = np.asarray(draw_triplets(Image.new("RGB", (2000, 3000), "white"), found)).astype(int)
    side = np.abs(tall[600:2500, 80:120] - (0, 114, 178)).sum(-1).min(axis=1)
    assert side.max() == side.min()


def test_a_relation_without_object_is_drawn_alike_however_it_is_written():
    space = LabelSpace(objects=("person", "missing objects"), relations=("ride", "walk"))
    pictures = [np.asarray(draw_triplets(WHITE, triplets([(A, box, 1)], space=space))) for box in (B, NONE)]
    np.testing.assert_array_equal(*pictures)


def test_images_come_as_tensors_paths_and_pictures(tmp_path):
    pixels = torch.arange(3 * 4 * 5, dtype=torch.uint8).reshape(3, 4, 5)
    picture = to_image(pixels)
    picture.save(tmp_path / "p.png")
    np.testing.assert_array_equal(np.asarray(to_image(tmp_path / "p.png")), pixels.permute(1, 2, 0).numpy())
    for wrong in (pixels.float(), pixels[0], pixels.permute(1, 2, 0)):
        with pytest.raises(TypeError, match="uint8"):
            to_image(wrong)


def test_files_are_turned_and_transparent_parts_are_white(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert to_image(tmp_path / "turned.jpg").size == (20, 30)
    with Image.open(tmp_path / "turned.jpg") as opened:  # as the predictor takes it
        assert to_image(opened).size == (20, 30)
    assert to_image(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert to_image(Image.new("I;16", (1, 1), 65535)).getpixel((0, 0)) == (255, 255, 255)
    assert to_image(Image.new("I", (1, 1), 30_000)).getpixel((0, 0)) == (117, 117, 117)
    assert to_image(Image.new("CMYK", (1, 1))).getpixel((0, 0)) == (255, 255, 255)
