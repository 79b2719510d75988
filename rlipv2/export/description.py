"""What an exported file tells about itself, in the metadata of the ONNX model. No torch in here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

FORMAT = "rlipv2-onnx/1"

INPUT, MASK = "images", "padding_mask"
OUTPUTS = (
    "subject_boxes",
    "object_boxes",
    "subject_labels",
    "object_labels",
    "subject_scores",
    "object_scores",
    "relation_scores",
)


@dataclass(frozen=True)
class Description:
    """What is needed to prepare images for an exported detector and to read its outputs.

    Attributes:
        objects: names that the label outputs count in.
        relations: names of the last axis of the relation scores.
        settings: of `rlipv2.structures.InferenceSettings`, as plain values; `possible` belongs to these names.
        size: fixed (height, width) of the images in pixels, None for any.
        batch: fixed number of images, None for any.
        padded: whether there is an input with the padding mask.
        pixels: type of the images: uint8, or float32 with the same values 0-255.
        versions: of the packages that made the file.
    """

    objects: tuple[str, ...]
    relations: tuple[str, ...]
    settings: dict[str, Any]
    size: tuple[int, int] | None
    batch: int | None
    padded: bool
    pixels: str
    versions: dict[str, str]

    def to_metadata(self) -> dict[str, str]:
        """The entries of `metadata_props`: `format`, and a JSON value of each attribute."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"format": FORMAT} | {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str) -> "Description":
        """The description in the metadata of the file `source`.

        Raises:
            ValueError: the file was not written by `export_onnx`, or by another version of it.
        """
        if metadata.get("format") != FORMAT:
            raise ValueError(
                f"{source}: no relation detector exported by this version (metadata format="
                f"{metadata.get('format')!r}, expected {FORMAT!r}); export it with `python -m rlipv2 export`"
            )
        try:
            values = {field.name: json.loads(metadata[field.name]) for field in fields(cls)}
            for name in ("objects", "relations", "size"):
                values[name] = None if values[name] is None else tuple(values[name])
            return cls(**values)
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{source}: damaged metadata ({error!r}); export it again") from error
