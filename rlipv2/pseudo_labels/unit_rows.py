"""Rows of work units as bytes: JSON lines, and a Parquet table of scored relations."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rlipv2.pseudo_labels.records import Tags

TAGS = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("subject", pa.int32(), nullable=False),
        pa.field("object", pa.int32(), nullable=False),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
    ]
)


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """One JSON object per line, UTF-8, the same bytes for the same rows."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n" for row in rows)


def tags_bytes(rows: Sequence[tuple[int, Tags]]) -> bytes:
    """Scored relations of images as a Parquet file with a row per relation."""
    counts = [len(tags) for _, tags in rows]
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *(tags.pairs for _, tags in rows)])
    columns = {
        "image_id": np.repeat(np.array([image for image, _ in rows], np.int64), counts),
        "subject": pairs[:, 0].astype(np.int32),
        "object": pairs[:, 1].astype(np.int32),
        "relation": [text for _, tags in rows for text in tags.texts],
        "confidence": np.concatenate([np.zeros(0, np.float32), *(tags.scores.astype(np.float32) for _, tags in rows)]),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=TAGS), sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read_tags(content: bytes) -> list[tuple[int, Tags]]:
    """The inverse of `tags_bytes`; images without relations are not in it."""
    table = pq.read_table(pa.BufferReader(content))
    images, confidence = table["image_id"].to_numpy(), table["confidence"].to_numpy()
    pairs = np.stack([table["subject"].to_numpy(), table["object"].to_numpy()], axis=1).astype(np.int64)
    texts = table["relation"].to_pylist()
    cuts = [0, *(np.flatnonzero(images[1:] != images[:-1]) + 1).tolist(), len(images)] if len(images) else []
    return [
        (int(images[start]), Tags(pairs[start:stop], tuple(texts[start:stop]), confidence[start:stop]))
        for start, stop in itertools.pairwise(cuts)
    ]
