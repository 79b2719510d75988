import numpy as np
import pytest
import torch
from PIL import Image

from rlipv2.datasets import images
from rlipv2.datasets.errors import DatasetNotFoundError, ImageFileError
from rlipv2.datasets.images import read_header, read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)


def save(path, mode="RGB", **options):
    Image.fromarray(PIXELS).convert(mode).save(path, **options)
    return path


def as_pillow_reads(path):
    with Image.open(path) as opened:
        return torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("rgb.png", "RGB"),
        ("grey.png", "L"),
        ("grey.jpg", "L"),
        ("bits.png", "1"),
        ("cmyk.jpg", "CMYK"),
        ("palette.png", "P"),
        ("palette.gif", "P"),
        ("alpha.png", "RGBA"),
        ("grey_alpha.png", "LA"),
        ("rgb.webp", "RGB"),
        ("rgb.bmp", "RGB"),
        ("rgb.tiff", "RGB"),
        ("cmyk.tiff", "CMYK"),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, name, mode):
    path = save(tmp_path / name, mode)
    image = read_image(path)
    assert image.dtype == torch.uint8
    # the JPEG decoders of torchvision and Pillow may round differently
    torch.testing.assert_close(image.int(), as_pillow_reads(path).int(), atol=3, rtol=0)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"exif": b"Exif\0\0" + b"x" * 5000}, {"comment": "\xff"}]
)
def test_plain_jpeg_files_do_without_pillow(tmp_path, monkeypatch, mode, options):
    path = save(tmp_path / "a.jpg", mode, **options)
    expected = as_pillow_reads(path)
    monkeypatch.setattr(images, "_opened", None)
    torch.testing.assert_close(read_image(path).int(), expected.int(), atol=3, rtol=0)


def test_other_jpeg_files_are_left_to_pillow(tmp_path):
    assert images._read_plain_jpeg(save(tmp_path / "a.jpg", "CMYK")) is None
    assert images._read_plain_jpeg(save(tmp_path / "a.png")) is None
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff")
    assert images._read_plain_jpeg(tmp_path / "b.jpg") is None


def test_lossless_pixels_are_exact_and_channels_first(tmp_path):
    image = read_image(save(tmp_path / "a.png"))
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), PIXELS)


def test_exif_rotation_is_told_but_not_applied(tmp_path):
    exif = Image.Exif()
    exif[images.EXIF_ORIENTATION] = 6
    path = save(tmp_path / "a.jpg", exif=exif)
    assert read_image(path).shape == (3, 6, 10)
    assert read_header(path).rotated
    assert not read_header(save(tmp_path / "b.jpg")).rotated


def test_the_content_decides_the_format_not_the_extension(tmp_path):
    path = save(tmp_path / "really_png.jpg", format="PNG")
    np.testing.assert_array_equal(read_image(path).permute(1, 2, 0).numpy(), PIXELS)
    assert read_header(path).format == "PNG"


def test_an_animation_gives_its_first_frame(tmp_path):
    first, second = Image.fromarray(PIXELS).convert("P"), Image.fromarray(PIXELS[::-1].copy()).convert("P")
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert torch.equal(read_image(tmp_path / "a.gif"), as_pillow_reads(tmp_path / "a.gif"))


@pytest.mark.parametrize("shape", [(6, 10), (6, 10, 3)])
def test_sixteen_bits_are_refused(tmp_path, shape):
    path = tmp_path / "deep.png"
    if len(shape) == 2:
        Image.fromarray(np.full(shape, 1000, np.uint16)).save(path)
    else:
        path.write_bytes(sixteen_bit_rgb_png(*shape[:2]))
    with pytest.raises(ImageFileError, match=r"deep\.png: more than 8 bits"):
        read_image(path)


def sixteen_bit_rgb_png(height, width):
    """Pillow cannot write these."""
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x12\x34" * 3 * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("name", "options"), [("a.jpg", {"quality": 95}), ("a.png", {}), ("a.bmp", {}), ("a.gif", {})])
def test_cut_off_files_are_refused(tmp_path, name, options):
    path = save(tmp_path / name, **options)
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])
    with pytest.raises(ImageFileError, match=str(path)):
        read_image(path)


@pytest.mark.parametrize(("name", "kept"), [("a.jpg", 150), ("a.jpg", 300), ("a.png", 20)])
def test_images_of_which_hardly_anything_is_there_are_called_cut_off(tmp_path, name, kept):
    path = save(tmp_path / name)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ImageFileError, match=rf"begins as a (JPEG|PNG) file, but is cut off .*\({kept} bytes\)"):
        read_header(path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"version https://git-lfs.github.com/spec/v1"])
def test_what_is_no_image_is_refused(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for read in (read_image, read_header):
        with pytest.raises(ImageFileError, match=str(path)):
            read(path)


def test_missing_images_are_named(tmp_path):
    for read in (read_image, read_header):
        with pytest.raises(DatasetNotFoundError, match=r"gone\.jpg: image not found"):
            read(tmp_path / "gone.jpg")


def test_huge_images_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 59)
    with pytest.raises(ImageFileError, match="10 x 6 pixels, over the limit"):
        read_image(path)
    monkeypatch.setattr(images, "MAX_PIXELS", 60)
    assert read_image(path).shape == (3, 6, 10)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ImageFileError, match="100 megapixels"):
        read_image(path)


def test_a_png_header_whose_pixels_are_cut_off_is_named(tmp_path):
    """Pillow decodes a PNG file to look for its EXIF orientation."""
    path = save(tmp_path / "cut.png")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ImageFileError, match=r"cut\.png: cannot be decoded"):
        read_header(path)
