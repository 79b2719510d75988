"""Files that tell something about each image, indexed so that only what is asked for is in memory."""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.json_stream import Watch
from rlipv2.datasets.store import Source, StoreWriter, open_store, reading, store_at, store_folder
from rlipv2.datasets.store.sources import outdated_sources
from rlipv2.ops.texts import TextArray

CHUNK = 5_000
"""Images whose records are in memory at once while an index is built, or whose ids are while they are counted."""
CALLS = 1000
"""Images that are asked for one by one before the index is opened anew."""

Read = Callable[[Path, Watch], Iterator[tuple[int, Any]]]
"""Gives (image id, record) of a file in order; the watch is shown what is read."""


class RecordsByImage:
    """The records of a file by image.

    Args:
        path: of the file.
        read: reads it; raises where a record cannot be used.
        kind: of the content, part of the name of the index.
        index: folder for the index of the file, which is built on first use and when the file changed; by default
            `.rlipv2-index` beside the file.

    Attributes:
        sha256: checksum of the file.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: the file, or a record of it, cannot be used; names the record.
        PermissionError: the index has to be built but cannot be written.
    """

    def __init__(self, path: str | Path, read: Read, *, kind: str, index: str | Path | None = None) -> None:
        self.path = Path(path).expanduser()
        folder = store_folder(self.path.parent, self.path, index=index, kind=kind, options={})
        files = {"records": self.path}
        build = partial(_build, self.path, read, kind)
        store = store_at(folder, outdated=lambda store: outdated_sources(store, files), build=build)
        self.sha256: str = store.content["sources"]["records"]["sha256"]
        self._place = (store.folder, store.digest)
        self._calls, self._held = 0, dict[str, Any]()

    def records_of(self, image_ids: Sequence[int]) -> list[list[Any]]:
        """The records of each image in file order; none for an image that the file does not list."""
        return self._found(self._opened(), image_ids)

    def one(self, image_id: int) -> list[Any]:
        """The records of an image; faster where many are asked for one by one.

        The index stays open between calls, and is opened anew now and then: pages that were read count as memory while
        a file is open.
        """
        if self._calls % CALLS == 0:
            self._held = self._opened()
        self._calls += 1
        return self._found(self._held, [image_id])[0]

    def _opened(self) -> dict[str, Any]:
        return open_store(self._place[0], digest=self._place[1]).tables["records"]

    @staticmethod
    def _found(table: dict[str, Any], image_ids: Sequence[int]) -> list[list[Any]]:
        starts = np.searchsorted(table["image_ids"], image_ids, side="left").tolist()
        stops = np.searchsorted(table["image_ids"], image_ids, side="right").tolist()
        texts: TextArray = table["records"]
        return [
            [record for text in texts.take(np.array(table["rows"][start:stop])) for record in json.loads(text)]
            for start, stop in zip(starts, stops, strict=True)
        ]

    def count_unknown(self, image_ids: Int[np.ndarray, " n"]) -> int:
        """How many images the file has records of that are not among these."""
        known = np.sort(image_ids)
        listed = self._opened()["image_ids"]
        count, last = 0, None
        for start in range(0, len(listed), CHUNK):  # sorted
            ids = np.unique(listed[start : start + CHUNK])
            ids = ids[ids != last]
            places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
            count += int((known[places] != ids).sum()) if len(known) else len(ids)
            last = ids[-1] if len(ids) else last
        return count


def _build(path: Path, read: Read, kind: str, writer: StoreWriter) -> dict[str, Any]:
    """One text for consecutive records of an image: 24 bytes of each of these are in memory at the end."""
    source, columns = Source.of(path), writer.columns()
    columns.append(image_ids=np.zeros(0, np.int64), records=[])
    with reading(path) as progress:
        runs = itertools.groupby(read(path, progress.watch), key=lambda item: item[0])
        texts = ((image, json.dumps([record for _, record in some])) for image, some in runs)
        for chunk in _batched(texts):
            ids = _ids(path, [image for image, _ in chunk])
            columns.append(image_ids=ids, records=[text for _, text in chunk])
    arrays = columns.arrays()
    rows = np.argsort(arrays["image_ids"], kind="stable")
    table = {"image_ids": arrays["image_ids"][rows], "rows": rows, "records": arrays["records"]}
    del arrays, rows
    writer.write_all({"records": table})
    return {"kind": kind, "sources": {"records": source.finished(path, progress.sha256).to_meta()}}


def image_id_of(key: str) -> int | None:
    """The image id that a key of a JSON object stands for; None where it is none."""
    return int(key) if re.fullmatch(r"-?\d+", key) else None


def _ids(path: Path, ids: list[int]) -> Int[np.ndarray, " n"]:
    try:
        return np.array(ids, np.int64)
    except OverflowError:
        largest = max(ids, key=abs)
        raise AnnotationError.in_file(path, f"image id {largest}", "ids have at most 18 digits") from None


def _batched(texts: Iterator[tuple[int, str]]) -> Iterator[tuple[tuple[int, str], ...]]:
    """As `itertools.batched` of Python 3.12."""
    while chunk := tuple(itertools.islice(texts, CHUNK)):
        yield chunk
