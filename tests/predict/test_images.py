"""Every kind of picture that people have, and what is refused by name."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from rlipv2.datasets.images import read_image as read_dataset_image
from rlipv2.predict.images import ImageError, read_image
from tests.fakes import write_image

RED, BLUE, WHITE, GREY = (200, 10, 20), (10, 20, 200), (255, 255, 255), (90, 90, 90)


def colour(image, row, column):
    return tuple(image[:, row, column].tolist())


def two_colours(mode="RGB"):
    """8 x 6 pixels: the left half red, the right half blue."""
    image = Image.new("RGB", (8, 6), RED)
    image.paste(BLUE, (4, 0, 8, 6))
    return image.convert(mode)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "grey.jpg"])
def test_ordinary_files_give_the_pixels_that_datasets_read(tmp_path, name):
    write_image(tmp_path / name, (37, 53), mode="L" if "grey" in name else "RGB")
    assert torch.equal(read_image(tmp_path / name), read_dataset_image(tmp_path / name))
    assert read_image(str(tmp_path / name)).dtype == torch.uint8


@pytest.mark.parametrize(
    ("orientation", "size", "top_left", "bottom_right"),
    [
        (1, (6, 8), RED, BLUE),
        (3, (6, 8), BLUE, RED),
        (6, (8, 6), RED, BLUE),
        (8, (8, 6), BLUE, RED),
        (2, (6, 8), BLUE, RED),
    ],
)
def test_photographs_are_turned_as_their_exif_data_say(tmp_path, orientation, size, top_left, bottom_right):
    exif = Image.Exif()
    exif[0x0112] = orientation
    two_colours().save(tmp_path / "photo.png", exif=exif)
    image = read_image(tmp_path / "photo.png")
    assert tuple(image.shape[1:]) == size
    assert (colour(image, 0, 0), colour(image, -1, -1)) == (top_left, bottom_right)


def test_an_opened_photograph_is_turned_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    two_colours().save(tmp_path / "photo.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "photo.jpg") as opened:
        assert torch.equal(read_image(opened), read_image(tmp_path / "photo.jpg"))


@pytest.mark.parametrize(("mode", "name"), [("L", "a.png"), ("1", "a.png"), ("P", "a.png"), ("L", "a.tif")])
def test_greyscale_and_palettes_become_rgb(tmp_path, mode, name):
    image = two_colours(mode)
    image.save(tmp_path / name)
    assert torch.equal(read_image(tmp_path / name), torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))


def test_cmyk_becomes_the_same_colours(tmp_path):
    two_colours("CMYK").save(tmp_path / "print.jpg", quality=98)
    image = read_image(tmp_path / "print.jpg")
    assert np.allclose(colour(image, 3, 1), RED, atol=12)
    assert np.allclose(colour(image, 3, 6), BLUE, atol=12)


def test_transparent_pixels_are_white(tmp_path):
    image = two_colours("RGBA")
    image.putpixel((0, 0), (*RED, 0))
    image.putpixel((1, 0), (*RED, 128))
    image.save(tmp_path / "logo.png")
    read = read_image(tmp_path / "logo.png")
    assert colour(read, 0, 0) == WHITE
    assert np.allclose(colour(read, 0, 1), [(value + 255) / 2 for value in RED], atol=1)
    assert colour(read, 0, 7) == BLUE


def test_transparent_greyscale_and_palettes_are_white(tmp_path):
    grey = Image.new("LA", (3, 2), (90, 255))
    grey.putpixel((0, 0), (90, 0))
    grey.save(tmp_path / "grey.png")
    palette = two_colours("P")
    palette.save(tmp_path / "palette.png", transparency=palette.getpixel((0, 0)))
    assert colour(read_image(tmp_path / "grey.png"), 0, 0) == WHITE
    assert colour(read_image(tmp_path / "grey.png"), 1, 1) == GREY
    assert colour(read_image(tmp_path / "palette.png"), 0, 0) == WHITE


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_sixteen_bits_are_scaled(tmp_path, name):
    ramp = np.array([[0, 257 * 90, 65535]], np.uint16)
    Image.fromarray(ramp).save(tmp_path / name)
    assert read_image(tmp_path / name)[:, 0].tolist() == [[0, 90, 255]] * 3


def png_of_sixteen_bits(path, pixels):
    """A PNG file with three channels of 16 bits, which Pillow cannot write."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_sixteen_bits_of_colour_are_scaled(tmp_path):
    png_of_sixteen_bits(tmp_path / "deep.png", np.array([[RED, BLUE]], np.uint16) * 257)
    read = read_image(tmp_path / "deep.png")
    assert (colour(read, 0, 0), colour(read, 0, 1)) == (RED, BLUE)


def test_floats_in_a_tiff_file_count_from_0_to_1_or_255(tmp_path):
    Image.fromarray(np.array([[0, 0.2, 1]], np.float32)).save(tmp_path / "unit.tif")
    Image.fromarray(np.array([[0, 51, 255]], np.float32)).save(tmp_path / "bytes.tif")
    assert read_image(tmp_path / "unit.tif")[0, 0].tolist() == [0, 51, 255]
    assert read_image(tmp_path / "bytes.tif")[0, 0].tolist() == [0, 51, 255]


def test_an_animation_gives_its_first_frame(tmp_path):
    two_colours().save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", (8, 6), GREY)])
    assert np.allclose(colour(read_image(tmp_path / "a.gif"), 0, 0), RED, atol=3)


PIXELS = np.array(two_colours())


@pytest.mark.parametrize(
    "source",
    [
        PIXELS,
        PIXELS.transpose(2, 0, 1),
        PIXELS.astype(np.int64),
        PIXELS.astype(np.float32),
        PIXELS / 255,
        PIXELS.astype(np.uint16) * 257,
        np.dstack([PIXELS, np.full((6, 8), 255, np.uint8)]),
        torch.from_numpy(PIXELS),
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        torch.from_numpy(PIXELS).permute(2, 0, 1) / 255,
        two_colours(),
    ],
)
def test_arrays_and_tensors_of_either_layout_give_the_same_image(source):
    assert torch.equal(read_image(source), torch.from_numpy(PIXELS).permute(2, 0, 1))


def test_one_channel_is_repeated_and_booleans_are_black_and_white():
    assert read_image(np.full((4, 5), 7, np.uint8)).tolist() == torch.full((3, 4, 5), 7).tolist()
    assert read_image(np.full((4, 5, 1), 7, np.uint8)).shape == (3, 4, 5)
    assert read_image(torch.ones(1, 4, 5, dtype=torch.bool)).unique().tolist() == [255]
    assert read_image(torch.full((3, 4, 5), 0.5, dtype=torch.bfloat16)).unique().tolist() == [128]


def test_arrays_take_the_last_axis_for_channels_and_tensors_the_first():
    array = np.arange(3 * 4 * 3, dtype=np.uint8).reshape(3, 4, 3)
    assert torch.equal(read_image(array), torch.from_numpy(array).permute(2, 0, 1))
    assert torch.equal(read_image(torch.from_numpy(array)), torch.from_numpy(array))


def test_the_image_is_a_copy():
    array = PIXELS.copy()
    read = read_image(array)
    array[:] = 0
    assert colour(read, 0, 0) == RED


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((2, 4, 5, 3), np.uint8), "several images; give them as a list"),
        (np.zeros((0, 5, 3), np.uint8), "none of them 0"),
        (np.zeros((7, 5, 2), np.uint8), "1, 3 or 4 channels"),
        (np.full((4, 5), np.nan), "NaN"),
        (np.full((4, 5), -0.5), "not normalised ones"),
        (np.full((4, 5), 300), "numbers from 300 to 300; expected pixels from 0 to 255"),
        (np.full((4, 5), "a"), "expected booleans, integers or floats"),
        (torch.zeros(5), "expected the shape"),
    ],
)
def test_numbers_that_are_no_pixels_are_refused(source, message):
    with pytest.raises(ImageError, match=message) as caught:
        read_image(source)
    assert str(source.shape[0]) in caught.value.source


def test_other_objects_are_no_images():
    with pytest.raises(TypeError, match="not dict"):
        read_image({})


def refused(path, message):
    with pytest.raises(ImageError, match=message) as caught:
        read_image(path)
    assert caught.value.source == str(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_images_are_refused_by_name(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    refused(tmp_path / "missing.jpg", "no such file")
    refused(tmp_path / "empty.jpg", "empty")
    refused(tmp_path / "page.jpg", "not an image")
    refused(tmp_path, "a folder")
    refused("https://example.org/a.jpg", "download the picture")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_files_that_are_cut_off_are_refused(tmp_path, name, share):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    refused(tmp_path / name, "cut off|not an image")


def test_a_file_of_absurdly_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    for side, name in ((14_000, "large.png"), (60_000, "bomb.png")):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        refused(tmp_path / name, "over the limit of 179 megapixels")
