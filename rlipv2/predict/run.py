"""Goes through images and videos: reads ahead, predicts in groups, draws, and notes results as they come.

Groups are cut from the list of all images, done ones included, and a group of which something is missing is predicted
as a whole: after an interruption the numbers are those of a run without one, to the last digit.
"""

import errno
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor

from rlipv2.predict.images import ImageError, read_image
from rlipv2.predict.inputs import Source
from rlipv2.predict.names import DRAWN, video_name
from rlipv2.predict.pictures import Pictures, Predict
from rlipv2.predict.results import Key, Results
from rlipv2.predict.video import Frame, VideoError, VideoReader, VideoWriter
from rlipv2.structures import Triplets

T = TypeVar("T")
Read = Tensor | Exception
"""A decoded image, or why it cannot be decoded."""
READ_AHEAD = 2
"""Groups that are decoded while one is predicted."""
OF_ONE_IMAGE = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, None)
"""Errors of writing that are due to the name of one image, or (None) to its size: no JPEG is longer than 65,500 pixels.
Any other, as a full disk, ends the run."""


@dataclass
class Counts:
    """What became of the images and frames of a run."""

    images: int = 0
    frames: int = 0
    found: int = 0
    errors: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """For `run.json`."""
        made = self.images + self.frames
        rate = round(made / self.seconds, 3) if self.seconds else None
        return {
            "images": self.images,
            "frames": self.frames,
            "found": self.found,
            "failed": len(self.errors),
            "seconds": round(self.seconds, 3),
            "per_second": rate,
        }


@dataclass
class Runner:
    """Predicts on files and writes what comes out.

    Attributes:
        predict: triplets of a few images.
        results: where lines go.
        pictures: where pictures go.
        batch_size: images predicted at once.
        every: of a video, every so many frames are looked at.
        fps: so many frames per second instead.
        workers: threads that decode and draw.
        advance: told after every image or frame, also of those that were done before.
        counts: what became of everything so far.
    """

    predict: Predict
    results: Results
    pictures: Pictures
    batch_size: int = 8
    every: int = 1
    fps: float | None = None
    workers: int = 2
    advance: Callable[[int], None] = lambda number: None
    counts: Counts = field(default_factory=Counts)

    def run(self, sources: Sequence[Source]) -> Counts:
        """Goes through everything that is not done yet, images first.

        Raises:
            OSError: results cannot be written.
            torch.OutOfMemoryError: too many images at once for the device.
        """
        started = time.perf_counter()
        self.images([source for source in sources if not source.is_video])
        for source in sources:
            if source.is_video:
                self.video(source)
        self.counts.seconds = time.perf_counter() - started
        return self.counts

    # ------------------------------------------------------------------ images

    def images(self, sources: Sequence[Source]) -> None:
        """Predicts on image files; one that cannot be used is noted and the rest goes on."""
        groups: list[list[Source]] = []
        for group in chunks(sources, self.batch_size):
            missing = [source for source in group if Key(source.name) not in self.results.done]
            self.counts.found += len(group) - len(missing)
            self.advance(len(group) - len(missing))
            if missing:
                groups.append(group)
        with ThreadPoolExecutor(self.workers) as pool:
            saved: list[tuple[str, Triplets, Future[None]]] = []
            for group, read in self._read_ahead(pool, groups):
                triplets = self._predict_group(group, read)
                self._note(saved)  # the pictures of the group before were drawn meanwhile
                saved = [
                    (source.name, found, pool.submit(self.pictures.save, source.name, image, found))
                    for source, image, found in triplets
                ]
            self._note(saved)

    def _read_ahead(
        self, pool: ThreadPoolExecutor, groups: Sequence[list[Source]]
    ) -> Iterator[tuple[list[Source], list[Read]]]:
        waiting: deque[list[Future[Read]]] = deque()
        upcoming = iter(groups)
        for group in groups:
            for later in islice(upcoming, READ_AHEAD + 1 - len(waiting)):
                waiting.append([pool.submit(_read, source) for source in later])
            yield group, [future.result() for future in waiting.popleft()]

    def _predict_group(self, group: Sequence[Source], read: Sequence[Read]) -> list[tuple[Source, Tensor, Triplets]]:
        """Triplets of the images of a group that are missing; errors are noted."""
        missing = [Key(source.name) not in self.results.done for source in group]
        for source, image, wanted in zip(group, read, missing, strict=True):
            if isinstance(image, Exception) and wanted:
                self._fail(source.name, image)
        usable = [
            (source, image, wanted)
            for source, image, wanted in zip(group, read, missing, strict=True)
            if isinstance(image, Tensor)
        ]
        if not any(wanted for _, _, wanted in usable):
            return []
        found = self._predict_each([image for _, image, _ in usable])
        triplets = []
        for (source, image, wanted), one in zip(usable, found, strict=True):
            if wanted and isinstance(one, Exception):
                self._fail(source.name, one)
            elif wanted and not isinstance(one, Exception):
                triplets.append((source, image, one))
        return triplets

    def _predict_each(self, images: list[Tensor]) -> Sequence[Triplets | Exception]:
        """Triplets of images; if that fails for all at once, one by one, so that a single image cannot stop the others.

        What fails for each of several images is no fault of theirs and is raised, unless it says that it is.
        """
        try:
            return self.predict(images)
        except torch.OutOfMemoryError:
            raise
        except (ValueError, RuntimeError) as error:
            if len(images) == 1:
                return [error]
        found: list[Triplets | Exception] = []
        for image in images:
            try:
                found += self.predict([image])
            except (ValueError, RuntimeError) as error:
                found.append(error)
        failed = [one for one in found if isinstance(one, Exception)]
        ours = [error for error in failed if not isinstance(error, ImageError)]
        if ours and len(failed) == len(images):
            raise ours[0]
        return found

    def _note(self, saved: Iterable[tuple[str, Triplets, Future[None]]]) -> None:
        """Appends the lines of images whose pictures are written."""
        lines = []
        for name, triplets, future in saved:
            try:
                future.result()
            except OSError as error:
                if error.errno not in OF_ONE_IMAGE:
                    raise
                self._fail(name, error)
                continue
            lines.append({"image": name, **triplets.to_dict()})
        if lines:
            self.results.add(lines)
            self.counts.images += len(lines)
            self.advance(len(lines))

    def _fail(self, name: str, error: Exception) -> None:
        self.results.add_error(name, str(error) or type(error).__name__)
        self.counts.errors[name] = str(error) or type(error).__name__
        self.advance(1)

    # ------------------------------------------------------------------ videos

    def video(self, source: Source) -> None:
        """Predicts on the frames of a video and writes a drawn one.

        Frames of which lines are there are decoded and drawn again, for the drawn video is written in one go, but not
        predicted again. A video that breaks off is noted as an error; what was read of it stays.
        """
        if source.name in self.results.videos:
            self.counts.found += 1
            return
        try:
            with VideoReader(source.path, every=self.every, fps=self.fps) as reader:
                self._frames(source, reader)
        except VideoError as error:
            self._fail(source.name, error)

    def _frames(self, source: Source, reader: VideoReader) -> None:
        known, path = self.results.frames(source.name), self.pictures.folder / DRAWN / video_name(source.name)
        broken: VideoError | None = None
        number, size, best = 0, (0, 0), -1.0
        poster: Tensor | None = None
        with VideoWriter(path, reader.rate) if self.pictures.draw else nullcontext() as writer:
            try:
                for group in chunks(reader, self.batch_size):
                    for frame, triplets in self._predict_frames(source, group, known):
                        number, size = number + 1, (frame.image.shape[2], frame.image.shape[1])
                        if writer is not None:
                            writer.add(self.pictures.drawn(frame.image, triplets, legend=False))
                        top = float(triplets.scores.max()) if len(triplets) else 0.0
                        if top > best:
                            best, poster = top, frame.image
            except VideoError as error:
                broken = error
        if poster is not None:
            self.pictures.copy(source.name, poster)
        if broken is not None:
            raise broken
        line = {"image": source.name, "frames": number, "width": size[0], "height": size[1]}
        drawn = video_name(source.name) if self.pictures.draw else None
        self.results.add_video({**line, "frames_per_second": round(float(reader.rate), 3), "drawn": drawn})

    def _predict_frames(
        self, source: Source, group: Sequence[Frame], known: dict[int, dict[str, Any]]
    ) -> list[tuple[Frame, Triplets]]:
        """The frames of a group with their triplets, of which the lines of missing ones are appended."""
        new = [frame.index for frame in group if frame.index not in known]
        self.advance(len(group))
        if not new:
            self.counts.found += len(group)
            return [(frame, Triplets.from_dict(known[frame.index])) for frame in group]
        triplets = self.predict([frame.image for frame in group])
        self.results.add(
            {"image": source.name, "frame": frame.index, "seconds": frame.seconds, **found.to_dict()}
            for frame, found in zip(group, triplets, strict=True)
            if frame.index in new
        )
        self.counts.frames += len(new)
        return list(zip(group, triplets, strict=True))


def _read(source: Source) -> Read:
    try:
        return read_image(source.path)
    except (ValueError, OSError) as error:
        return error


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one may be shorter.

    What an iterator gave before it raised is given too, and then its error is raised.
    """
    iterator = iter(items)
    chunk: list[T] = []
    try:
        for item in iterator:
            chunk.append(item)
            if len(chunk) == size:
                yield chunk
                chunk = []
    except VideoError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk
