import json

import pytest
import torch
from PIL import Image

from rlipv2.predict.images import ImageError
from rlipv2.predict.inputs import Source, find_inputs
from rlipv2.predict.names import picture_name, video_name
from rlipv2.predict.results import read_lines
from tests.predict import fakes


def lines(out):
    return list(read_lines(out / "predictions.jsonl"))


def errors(out):
    return {line["image"]: line["error"] for line in read_lines(out / "errors.jsonl")}


@pytest.fixture
def photos(tmp_path):
    fakes.write_images(tmp_path / "photos", 7)
    return tmp_path / "photos"


def test_every_image_gives_one_line_in_order(photos, tmp_path):
    counts = fakes.run(find_inputs([str(photos)]), tmp_path / "out", batch_size=3)
    found = lines(tmp_path / "out")
    assert [line["image"] for line in found] == [f"{k:04d}.png" for k in range(7)]
    assert (counts.images, counts.found, counts.errors) == (7, 0, {})
    assert found[0]["width"] == 32
    assert found[0]["height"] == 24
    assert set(found[0]["triplets"][0]) == {"subject", "relation", "object", "score", "subject_box", "object_box"}


def test_bad_files_are_named_and_the_rest_goes_on(photos, tmp_path):
    (photos / "0002.png").write_bytes(b"no image")
    (photos / "0003.png").write_bytes((photos / "0003.png").read_bytes()[:60])
    (photos / "0006.png").write_bytes(b"")
    counts = fakes.run(find_inputs([str(photos)]), tmp_path / "out", batch_size=2)
    bad = {"0002.png", "0003.png", "0006.png"}
    assert set(errors(tmp_path / "out")) == set(counts.errors) == bad
    assert all(name in text for name, text in errors(tmp_path / "out").items())
    assert {line["image"] for line in lines(tmp_path / "out")} == {f"{k:04d}.png" for k in range(7)} - bad


def test_a_repaired_file_is_made_up_for_and_nothing_else_is_done_again(photos, tmp_path):
    whole = (photos / "0002.png").read_bytes()
    (photos / "0002.png").write_bytes(b"")
    out, asked = tmp_path / "out", []

    def counting(images):
        asked.append(len(images))
        return fakes.predict(images)

    fakes.run(find_inputs([str(photos)]), out, batch_size=3, predict=counting)
    before = (out / "predictions.jsonl").read_bytes()
    fakes.run(find_inputs([str(photos)]), out, batch_size=3, predict=counting)
    assert asked == [2, 3, 1]  # still broken: nothing was predicted
    (photos / "0002.png").write_bytes(whole)
    counts = fakes.run(find_inputs([str(photos)]), out, batch_size=3, predict=counting)
    assert asked == [2, 3, 1, 3]
    assert (counts.images, counts.found) == (1, 6)
    assert (out / "predictions.jsonl").read_bytes().startswith(before)
    assert errors(out) == {}


def test_a_group_that_was_half_written_is_predicted_as_a_whole_and_gives_what_is_missing(photos, tmp_path):
    """Numbers may depend on the images that are predicted together, in their last digits."""

    def together(images):
        shift = float(sum(image.float().mean() for image in images)) / 1e4
        return [fakes.Triplets(**{**vars(found), "scores": found.scores + shift}) for found in fakes.predict(images)]

    fakes.run(find_inputs([str(photos)]), tmp_path / "whole", batch_size=3, predict=together)
    whole = (tmp_path / "whole" / "predictions.jsonl").read_bytes()
    fakes.run(find_inputs([str(photos)]), tmp_path / "out", batch_size=3, predict=together)
    path = tmp_path / "out" / "predictions.jsonl"
    for cut in range(0, len(whole), 997):
        path.write_bytes(whole[:cut])
        fakes.run(find_inputs([str(photos)]), tmp_path / "out", batch_size=3, predict=together)
        assert path.read_bytes() == whole, cut


def test_one_image_that_the_network_refuses_does_not_stop_the_others_of_its_group(photos, tmp_path):
    bad = fakes.triplets_of(torch.zeros(3, 24, 32, dtype=torch.uint8))

    def picky(images):
        if any(int(image[0, 0, 0]) == 7 for image in images):
            raise RuntimeError("too narrow")
        return fakes.predict(images)

    picture = Image.open(photos / "0001.png")
    picture.putpixel((0, 0), (7, 0, 0))
    picture.save(photos / "0001.png")
    fakes.run(find_inputs([str(photos)]), tmp_path / "out", predict=picky)
    assert errors(tmp_path / "out") == {"0001.png": "too narrow"}
    assert len(lines(tmp_path / "out")) == 6
    assert bad.image_size == (24, 32)


def test_what_fails_for_all_images_is_raised(photos, tmp_path):
    def broken(images):
        raise RuntimeError("no such operator")

    with pytest.raises(RuntimeError, match="no such operator"):
        fakes.run(find_inputs([str(photos)]), tmp_path / "out", predict=broken)


def test_a_group_of_unusable_images_does_not_stop_the_others(photos, tmp_path):
    def picky(images):
        if int(images[0][0, 0, 0]) == 7 or len(images) > 1:
            raise ImageError("tensor", "too narrow")
        return fakes.predict(images)

    for name in ("0000.png", "0001.png"):
        picture = Image.open(photos / name)
        picture.putpixel((0, 0), (7, 0, 0))
        picture.save(photos / name)
    fakes.run(find_inputs([str(photos)]), tmp_path / "out", predict=picky, batch_size=2)
    assert set(errors(tmp_path / "out")) == {"0000.png", "0001.png"}
    assert len(lines(tmp_path / "out")) == 5


def test_too_little_memory_is_raised_at_once(photos, tmp_path):
    asked = []

    def large(images):
        asked.append(len(images))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        fakes.run(find_inputs([str(photos)]), tmp_path / "out", predict=large, batch_size=4)
    assert asked == [4]


def test_a_full_disk_ends_the_run_and_nothing_counts_as_done(photos, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rlipv2.predict.pictures.write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        fakes.run(find_inputs([str(photos)]), tmp_path / "out", pictures={"draw": True})
    assert lines(tmp_path / "out") == []


def test_a_name_too_long_for_its_picture_is_an_error_of_that_image(photos, tmp_path):
    name = "x" * 251 + ".png"
    (photos / "0001.png").rename(photos / name)
    fakes.run(find_inputs([str(photos)]), tmp_path / "out", pictures={"draw": True, "gallery": False})
    assert set(errors(tmp_path / "out")) == {name}
    assert len(lines(tmp_path / "out")) == 6


def test_a_picture_longer_than_jpeg_allows_is_drawn_smaller(photos, tmp_path):
    Image.new("RGB", (65_600, 200)).save(photos / "0001.png")
    fakes.run(find_inputs([str(photos)]), tmp_path / "out", pictures={"draw": True, "gallery": False})
    assert errors(tmp_path / "out") == {}
    assert len(lines(tmp_path / "out")) == 7
    (drawn,) = (tmp_path / "out" / "drawn").glob("0001*")
    assert max(Image.open(drawn).size) < 4000


def test_long_names_are_no_trouble(photos, tmp_path):
    name = "x" * 240 + ".png"
    (photos / "0001.png").rename(photos / name)
    fakes.run(find_inputs([str(photos)]), tmp_path / "out", pictures={"draw": True, "gallery": False})
    assert (tmp_path / "out" / "drawn" / f"{name}.jpg").exists()


def test_pictures_lie_in_the_folders_of_their_images(tmp_path):
    fakes.write_images(tmp_path / "photos" / "in" / "deep", 1)
    fakes.run(find_inputs([str(tmp_path / "photos")], recursive=True), tmp_path / "out", pictures={})
    for place in ("drawn", "gallery/thumbnails", "gallery/pictures"):
        assert (tmp_path / "out" / place / "in/deep/0000.png.jpg").exists()
    assert not list((tmp_path / "out").rglob("*.part"))


def test_progress_counts_every_image_once(photos, tmp_path):
    (photos / "0002.png").write_bytes(b"")
    for _ in range(2):
        told = []
        fakes.run(find_inputs([str(photos)]), tmp_path / "out", batch_size=2, advance=told.append)
        assert sum(told) == 7


def test_names_of_pictures_differ_where_names_of_images_do():
    names = [
        *("a", "a.file", "a.file.jpg", "a.file.file.jpg", "a.file.mp4", "a.txt", "a.txt.jpg", "a.v1.jpg", "a.v1.mp4"),
        *("a.jpg", "a.JPG", "a.jpeg", "a.png", "a.png.jpg", "a.png.jpg.jpg", "a.jpg.jpg"),
        *("a.mp4", "a.mp4.jpg", "a.mov", "a.mov.mp4"),
    ]
    assert len({picture_name(name) for name in names}) == len(names)
    assert len({video_name(name) for name in names}) == len(names)
    assert picture_name("in/a.v1.jpg") == "in/a.v1.jpg"
    assert video_name("in/a.v1.mp4") == "in/a.v1.mp4"


def test_names_that_are_no_utf8_come_through(tmp_path):
    fakes.write_images(tmp_path / "photos", 1)
    (tmp_path / "photos" / "0000.png").rename(tmp_path / "photos" / "\udcff.png")
    fakes.run(find_inputs([str(tmp_path / "photos")]), tmp_path / "out", pictures={})
    assert json.loads((tmp_path / "out" / "predictions.jsonl").read_text())["image"] == "\udcff.png"
    assert find_inputs([str(tmp_path / "photos")]).sources == (
        Source(tmp_path / "photos" / "\udcff.png", "\udcff.png"),
    )
