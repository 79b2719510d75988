import json
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from rlipv2.predict.inputs import find_inputs
from rlipv2.predict.results import Results, read_lines
from rlipv2.predict.run import Runner
from rlipv2.predict.video import VideoError, VideoReader, VideoWriter, expected_frames
from tests.predict import fakes

av = pytest.importorskip("av")


def write_video(path, count=10, *, rate=10, size=(64, 48), rotation=0):
    """Frames of grey that gets lighter: frame k has the value 20 k."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, Fraction(rate)) as writer:
        for k in range(count):
            writer.add(Image.new("RGB", size, (20 * k,) * 3))
    return path


def shades(reader):
    return [round(float(frame.image.float().mean()) / 20) for frame in reader]


def lines(out):
    return list(read_lines(out / "predictions.jsonl"))


@pytest.fixture
def clip(tmp_path):
    return write_video(tmp_path / "videos" / "clip.mp4")


def test_frames_come_in_order_with_their_times(clip):
    with VideoReader(clip) as reader:
        frames = list(reader)
        assert reader.expected == 10
    assert [frame.index for frame in frames] == list(range(10))
    assert [frame.seconds for frame in frames] == [k / 10 for k in range(10)]
    assert frames[0].image.shape == (3, 48, 64)
    assert frames[0].image.dtype == torch.uint8


@pytest.mark.parametrize(
    ("options", "wanted", "rate"),
    [
        ({"every": 3}, [0, 3, 6, 9], Fraction(10, 3)),
        ({"fps": 5}, [0, 2, 4, 6, 8], 5),
        ({"fps": 4}, [0, 3, 5, 8], 4),
        ({"fps": 60}, list(range(10)), 10),
    ],
)
def test_every_and_fps_choose_frames(options, wanted, rate, clip):
    with VideoReader(clip, **options) as reader:
        assert shades(reader) == wanted
        assert reader.rate == rate
    assert abs(expected_frames(clip, options.get("every", 1), options.get("fps")) - len(wanted)) <= 1


def test_a_video_that_lies_on_its_side_is_turned(clip, monkeypatch):
    from rlipv2.predict import video

    class Turned:
        rotation = 90  # counter-clockwise, as PyAV tells it

        def to_ndarray(self, format):
            return np.array([[[1] * 3, [2] * 3]], np.uint8)

    assert video._upright(Turned())[0].tolist() == [[2], [1]]


@pytest.mark.parametrize("content", [b"", b"no video", "cut", "image"])
def test_what_is_no_video_is_named(content, clip, tmp_path):
    path = tmp_path / "bad.mp4"
    if content == "image":
        Image.new("RGB", (4, 4)).save(path, format="PNG")
        with VideoReader(path) as reader:
            assert len(list(reader)) == 1  # a picture is a video of one frame
        return
    path.write_bytes(clip.read_bytes()[:40] if content == "cut" else content)
    with (
        pytest.raises(VideoError, match=r"bad\.mp4: (cannot be opened|holds no pictures)"),
        VideoReader(path),
    ):
        pass


def test_a_run_gives_a_line_per_frame_and_a_drawn_video(clip, tmp_path):
    counts = fakes.run(find_inputs([str(clip)]), tmp_path / "out", pictures={}, batch_size=4, every=2)
    found = lines(tmp_path / "out")
    assert [(line["image"], line["frame"], line["seconds"]) for line in found] == [
        ("clip.mp4", k, k / 10) for k in (0, 2, 4, 6, 8)
    ]
    assert (counts.images, counts.frames) == (0, 5)
    with VideoReader(tmp_path / "out" / "drawn" / "clip.mp4") as drawn:
        assert len(list(drawn)) == 5
        assert drawn.source_rate == 5
    (video,) = read_lines(tmp_path / "out" / "videos.jsonl")
    assert video == {
        "image": "clip.mp4", "frames": 5, "width": 64, "height": 48, "frames_per_second": 5.0, "drawn": "clip.mp4"
    }  # fmt: skip
    assert (tmp_path / "out" / "gallery" / "thumbnails" / "clip.mp4.jpg").exists()


def test_a_video_that_was_half_done_is_finished_and_no_frame_comes_twice(clip, tmp_path):
    inputs = find_inputs([str(clip)])
    fakes.run(inputs, tmp_path / "whole", pictures={"gallery": False}, batch_size=4)
    whole = (tmp_path / "whole" / "predictions.jsonl").read_bytes()

    class Killed(BaseException):
        pass

    for after in (0, 1, 2):
        asked = []

        def dying(images, asked=asked, after=after):
            asked.append(len(images))
            if len(asked) > after:
                raise Killed
            return fakes.predict(images)

        out = tmp_path / f"out{after}"
        with pytest.raises(Killed):
            fakes.run(inputs, out, pictures={"gallery": False}, batch_size=4, predict=dying)
        assert not (out / "drawn" / "clip.mp4").exists()
        counts = fakes.run(inputs, out, pictures={"gallery": False}, batch_size=4)
        assert (out / "predictions.jsonl").read_bytes() == whole
        assert counts.frames == 10 - 4 * after
        with VideoReader(out / "drawn" / "clip.mp4") as drawn:
            assert len(list(drawn)) == 10
        assert fakes.run(inputs, out, pictures={"gallery": False}, batch_size=4).found == 1


def test_a_video_that_breaks_off_keeps_its_frames_and_is_an_error(clip, tmp_path, monkeypatch):
    whole = VideoReader.__iter__

    def breaking(self):
        for frame in whole(self):
            if frame.index == 6:
                raise VideoError(f"{self.path}: cannot be decoded after frame 5 (broken)")
            yield frame

    monkeypatch.setattr(VideoReader, "__iter__", breaking)
    counts = fakes.run(find_inputs([str(clip)]), tmp_path / "out", pictures={"gallery": False}, batch_size=4)
    assert [line["frame"] for line in lines(tmp_path / "out")] == list(range(6))
    assert list(counts.errors) == ["clip.mp4"]
    assert list(read_lines(tmp_path / "out" / "videos.jsonl")) == []
    assert (tmp_path / "out" / "drawn" / "clip.mp4").exists()


def test_a_bad_video_does_not_stop_the_images(clip, tmp_path):
    fakes.write_images(clip.parent, 2)
    clip.write_bytes(b"no video")
    counts = fakes.run(find_inputs([str(clip.parent)]), tmp_path / "out")
    assert counts.images == 2
    assert list(counts.errors) == ["clip.mp4"]
    assert "clip.mp4" in json.loads((tmp_path / "out" / "errors.jsonl").read_text())["error"]


def test_odd_sizes_and_names_are_written(tmp_path):
    path = write_video(tmp_path / ("x" * 200 + ".mp4"), 2, size=(33, 21))
    with VideoReader(path) as reader:
        assert next(iter(reader)).image.shape == (3, 20, 32)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_without_pyav_nothing_but_videos_fails(clip, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    fakes.write_images(tmp_path / "photos", 1)
    assert fakes.run(find_inputs([str(tmp_path / "photos")]), tmp_path / "out").images == 1
    with Results(tmp_path / "out2", {}) as results, pytest.raises(ModuleNotFoundError):
        Runner(fakes.predict, results, fakes.Pictures(tmp_path / "out2")).run(find_inputs([str(clip)]).sources)
