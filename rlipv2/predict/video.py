"""Videos: frames as tensors, and drawn frames as an mp4. PyAV is imported when a video is opened.

Frames are turned as the video asks for: telephones store them lying on their side.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

DEFAULT_RATE = Fraction(25)
"""Frames per second of a video that does not tell."""


class VideoError(ValueError):
    """A file that cannot be decoded as a video; the message names it."""


@dataclass(frozen=True)
class Frame:
    """A frame to look at.

    Attributes:
        index: its number in the video, from 0.
        seconds: when it is shown.
        image: RGB, upright.
    """

    index: int
    seconds: float
    image: UInt8[Tensor, "3 h w"]


class VideoReader:
    """The frames of a video that are looked at; a context manager.

    Args:
        path: of the video.
        every: looks at every so many frames.
        fps: looks at so many frames per second instead; at most all of them.

    Raises:
        VideoError: not a video, or one without pictures.
        ModuleNotFoundError: PyAV is not installed (extra `video`).
    """

    def __init__(self, path: Path, *, every: int = 1, fps: float | None = None) -> None:
        import av

        self.path, self._every, self._fps = path, every, fps
        try:
            self._container = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{path}: cannot be opened as a video ({error}); is the file complete?") from error
        if not self._container.streams.video:
            self._container.close()
            raise VideoError(f"{path}: holds no pictures, only {[s.type for s in self._container.streams]}")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.source_rate = Fraction(self._stream.average_rate or DEFAULT_RATE)

    @property
    def rate(self) -> Fraction:
        """Frames that are looked at per second of the video."""
        if self._fps is not None:
            return min(self.source_rate, Fraction(self._fps).limit_denominator(1000))
        return self.source_rate / self._every

    @property
    def expected(self) -> int | None:
        """About how many frames there are to look at, None if the video does not tell."""
        total = int(self._stream.frames)
        return max(1, round(total * self.rate / self.source_rate)) if total else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """Decodes the video once.

        Raises:
            VideoError: the video breaks off or is damaged; the frames before have been given.
        """
        import av

        number = -1
        try:
            for number, frame in enumerate(self._container.decode(self._stream)):
                if self._wanted(number):
                    seconds = float(frame.time) if frame.time is not None else float(number / self.source_rate)
                    yield Frame(number, round(seconds, 3), _upright(frame))
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{self.path}: cannot be decoded after frame {number} ({error})") from error
        if number < 0:
            raise VideoError(f"{self.path}: no frame can be decoded; the file is empty or cut off")

    def _wanted(self, number: int) -> bool:
        """Frames per second are kept by their numbers, not times: the same frames however the times are rounded."""
        if self._fps is None:
            return number % self._every == 0
        step = self.source_rate / self.rate
        return number == 0 or int(number / step) != int((number - 1) / step)


def expected_frames(path: Path, every: int, fps: float | None) -> int:
    """About how many frames of a video will be looked at; 0 if it does not tell, or cannot be opened."""
    try:
        with VideoReader(path, every=every, fps=fps) as reader:
            return reader.expected or 0
    except VideoError:
        return 0


def _upright(frame: Any) -> UInt8[Tensor, "3 h w"]:
    image = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
    quarters = round(getattr(frame, "rotation", 0) / 90)
    return torch.rot90(image, quarters, dims=(1, 2)).contiguous()


class VideoWriter:
    """Writes pictures of equal size as an H.264 mp4, which any browser plays; a context manager.

    The file appears under its name when the block ends without an error; odd widths and heights lose a pixel, which the
    format asks for.

    Args:
        path: of the mp4.
        rate: frames per second.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        self.path, self._rate = path, Fraction(rate).limit_denominator(60_000)
        self._part = path.with_name(f".{path.name[:40]}.part.mp4")
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> Self:
        return self

    def add(self, picture: Image.Image) -> None:
        """Appends a picture, fitted to the size of the first one."""
        import av

        if self._container is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self._part), mode="w", format="mp4", options={"movflags": "faststart"})
            self._stream = self._container.add_stream("libx264", rate=self._rate, options={"crf": "23"})
            self._stream.width, self._stream.height = (max(2, side // 2 * 2) for side in picture.size)
            self._stream.pix_fmt = "yuv420p"
        size = (self._stream.width, self._stream.height)
        if picture.size != size:
            whole = picture.width // 2 * 2 == size[0] and picture.height // 2 * 2 == size[1]
            picture = picture.crop((0, 0, *size)) if whole else picture.resize(size)
        for packet in self._stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")):
            self._container.mux(packet)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is None:
            return
        try:
            if kind is None:
                for packet in self._stream.encode():
                    self._container.mux(packet)
        finally:
            with suppress(OSError):
                self._container.close()
            if kind is None:
                self._part.replace(self.path)
            else:
                self._part.unlink(missing_ok=True)
