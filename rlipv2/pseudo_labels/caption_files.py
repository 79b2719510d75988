"""Captions that exist already: files of the official captioner, or captions of COCO."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.json_stream import Watch, iterate_members
from rlipv2.datasets.store import Source, StoreWriter, open_store, reading, store_at, store_folder
from rlipv2.datasets.store.sources import outdated_sources

MEMBERS_OF_COCO = {"annotations", "images", "info", "licenses", "type", "categories"}
CHUNK = 50_000
"""Captions that are in memory at once while the index is built or counted."""


class CaptionFile:
    """The captions in a file, by image; in memory are only those that are asked for.

    Args:
        path: JSON, either `{"<image id>": [caption, ...], ...}` as the official captioner writes it, or captions of
            COCO, `{"annotations": [{"image_id": ..., "caption": ...}, ...], ...}`.
        index: folder for the index of the file, which is built on first use and when the file changed; by default
            `.rlipv2-index` beside the file.

    Attributes:
        sha256: checksum of the file.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: the file, or a record of it, cannot be used; names the record.
        PermissionError: the index has to be built but cannot be written.
    """

    def __init__(self, path: str | Path, *, index: str | Path | None = None) -> None:
        self.path = Path(path).expanduser()
        folder = store_folder(self.path.parent, self.path, index=index, kind="captions", options={})
        files = {"captions": self.path}
        store = store_at(folder, outdated=lambda store: outdated_sources(store, files), build=self._build)
        self.sha256: str = store.content["sources"]["captions"]["sha256"]
        self._place = (store.folder, store.digest)

    def captions_of(self, image_ids: Sequence[int]) -> list[list[str]]:
        """The captions of each image in file order; none for an image that the file does not list."""
        table = open_store(self._place[0], digest=self._place[1]).tables["captions"]
        starts = np.searchsorted(table["image_ids"], image_ids, side="left").tolist()
        stops = np.searchsorted(table["image_ids"], image_ids, side="right").tolist()
        return [
            list(table["captions"].take(np.array(table["rows"][start:stop])))
            for start, stop in zip(starts, stops, strict=True)
        ]

    def count_unknown(self, image_ids: Int[np.ndarray, " n"]) -> int:
        """How many images the file has captions of that are not among these."""
        known = np.sort(image_ids)
        listed = open_store(self._place[0], digest=self._place[1]).tables["captions"]["image_ids"]
        count, last = 0, None
        for start in range(0, len(listed), CHUNK):  # sorted
            ids = np.unique(listed[start : start + CHUNK])
            ids = ids[ids != last]
            places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
            count += int((known[places] != ids).sum()) if len(known) else len(ids)
            last = ids[-1] if len(ids) else last
        return count

    def _build(self, writer: StoreWriter) -> dict[str, Any]:
        source, columns = Source.of(self.path), writer.columns()
        columns.append(image_ids=np.zeros(0, np.int64), captions=[])
        ids: list[int] = []
        texts: list[str] = []
        with reading(self.path) as progress:
            for image, caption in _captions(self.path, progress.watch):
                ids.append(image)
                texts.append(caption)
                if len(ids) == CHUNK:
                    columns.append(image_ids=np.array(ids, np.int64), captions=texts)
                    ids, texts = [], []
        columns.append(image_ids=np.array(ids, np.int64), captions=texts)
        arrays = columns.arrays()
        rows = np.argsort(arrays["image_ids"], kind="stable")
        table = {"image_ids": arrays["image_ids"][rows], "rows": rows, "captions": arrays["captions"]}
        writer.write_all({"captions": table})
        return {"kind": "captions", "sources": {"captions": source.finished(self.path, progress.sha256).to_meta()}}


def _captions(path: Path, watch: Watch) -> Iterator[tuple[int, str]]:
    """(image id, caption) of a file of either form."""
    of_coco = False
    for key, number, record in iterate_members(path, watch=watch):
        if key in MEMBERS_OF_COCO:  # others are image ids
            of_coco |= key == "annotations"
            if key == "annotations" and number >= 0:
                yield _of_coco(path, number, record)
            continue
        if not key.lstrip("-").isdecimal():
            if of_coco:
                continue
            todo = 'expected {"<image id>": [caption, ...]}, or captions of COCO'
            raise AnnotationError.in_file(path, f"{key!r} is no image id", todo)
        if number < 0 and record != []:
            todo = "expected a list of captions"
            raise AnnotationError.in_record(path, 0, key, field="captions", value=record, wrong="no list", todo=todo)
        if number >= 0:
            yield int(key), _text(path, number, key, record)


def _of_coco(path: Path, number: int, record: Any) -> tuple[int, str]:
    image = record.get("image_id") if isinstance(record, dict) else None
    if type(image) is not int:
        wrong, todo = "no integer", "every caption needs the id of its image"
        raise AnnotationError.in_record(path, number, image, field="image_id", value=image, wrong=wrong, todo=todo)
    return image, _text(path, number, image, record.get("caption"))


def _text(path: Path, number: int, image: object, caption: Any) -> str:
    if not isinstance(caption, str):
        wrong, todo = "no text", "write every caption as a JSON string"
        raise AnnotationError.in_record(path, number, image, field="caption", value=caption, wrong=wrong, todo=todo)
    return caption.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be stored
