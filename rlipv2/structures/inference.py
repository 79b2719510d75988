"""How images are prepared for a network and its output is scored, as it was evaluated."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True)
class InferenceSettings:
    """What an image goes through besides the network; a weight folder keeps them in `inference.json`.

    Attributes:
        short_side: pixels that the short side of an image is scaled to.
        max_size: limit of the long side, pixels; None for no limit.
        mode: how pairs are scored, see `rlipv2.models.postprocess.postprocess`.
        subject: name of the object class that every subject of `hoi` mode is.
        subject_filter: keep only pairs whose most probable subject is `subject`.
        nms: overlap above which a pair that repeats a better one is removed, see
            `rlipv2.ops.nms.pairwise_nms`; None removes none.
        possible: (relation, object) names that the evaluation counts, of the label space saved with the weights;
            None: all.

    Raises:
        ValueError: a setting that makes no sense, which the message names.
    """

    short_side: int = 800
    max_size: int | None = 1333
    mode: Literal["hoi", "scene_graph"] = "hoi"
    subject: str = "person"
    subject_filter: bool = False
    nms: float | None = 0.7
    possible: tuple[tuple[str, str], ...] | None = None

    def __post_init__(self) -> None:
        if not _is_size(self.short_side):
            raise ValueError(f"short_side={self.short_side!r}: expected a number of pixels, at least 1")
        if self.max_size is not None and not _is_size(self.max_size):
            raise ValueError(f"max_size={self.max_size!r}: expected a number of pixels, at least 1, or None")
        if self.mode not in ("hoi", "scene_graph"):
            raise ValueError(f"mode={self.mode!r}: expected hoi or scene_graph")
        if not isinstance(self.subject, str) or not self.subject.strip():
            raise ValueError(f"subject={self.subject!r}: expected the name of an object class")
        if not isinstance(self.subject_filter, bool):
            raise ValueError(f"subject_filter={self.subject_filter!r}: expected true or false")
        check_nms(self.nms)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written to `inference.json`; `possible` by relation."""
        values = asdict(self)
        if self.possible is not None:
            values["possible"] = {}
            for relation, name in self.possible:
                values["possible"].setdefault(relation, []).append(name)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "InferenceSettings":
        """The settings in a dictionary of `to_dict`; what is left out takes its default.

        Raises:
            ValueError: an unknown name, or a value that makes no sense.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"expected an object with settings, got {type(values).__name__}")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown settings {unknown}; expected some of {sorted(known)}")
        possible = values.get("possible")
        if possible is not None:
            if not isinstance(possible, Mapping) or not all(isinstance(names, list) for names in possible.values()):
                raise ValueError("possible: expected lists of object names by relation")
            possible = tuple((str(relation), str(name)) for relation, names in possible.items() for name in names)
        return cls(**(dict(values) | {"possible": possible}))


def check_nms(threshold: float | None) -> None:
    """Refuses what is no overlap.

    Raises:
        ValueError: neither None nor a number from 0 to 1.
    """
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if threshold is not None and not (number and 0 <= threshold <= 1):
        raise ValueError(f"nms={threshold!r}: expected an overlap from 0 to 1, or None")


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
