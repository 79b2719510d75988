"""The words a model is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


def _clean_names(kind: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"{kind} must be a sequence of names, got the single string {names!r}; write [{names!r}]")
    names = tuple(names)
    # every batch of relational pre-training makes one of 500 names
    if set(map(type, names)) == {str} and len(set(names)) == len(names) and all(map(str.strip, names)):
        return names
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"{kind}[{index}] = {name!r}: expected a non-blank string")
    if len(set(names)) != len(names):
        doubled = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"{kind} holds {doubled} more than once; a label space names every class once")
    return names


@dataclass(frozen=True)
class LabelSpace:
    """The words a model is asked for: object names and relation names, in the order of its logits.

    Frozen and hashable, so that text features can be cached per label space. The background text
    `NO_OBJECT` is appended to the objects by `texts`; it is not one of `objects`.

    Raises:
        TypeError: a single string instead of a list of names.
        ValueError: blank or repeated names, or the background text among the objects.
    """

    objects: tuple[str, ...]
    relations: tuple[str, ...]

    NO_OBJECT: ClassVar[str] = "no objects"
    MISSING_OBJECT: ClassVar[str] = "missing objects"
    """Class of the object of a relation that has none (V-COCO); unlike `NO_OBJECT` one of `objects`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "objects", _clean_names("objects", self.objects))
        object.__setattr__(self, "relations", _clean_names("relations", self.relations))
        if self.NO_OBJECT in self.objects:
            raise ValueError(
                f"objects[{self.objects.index(self.NO_OBJECT)}] = {self.NO_OBJECT!r}: "
                "the background text is appended to the objects; leave it out"
            )

    @property
    def texts(self) -> tuple[str, ...]:
        """Objects, the background text, relations: one row of text features each."""
        return (*self.objects, self.NO_OBJECT, *self.relations)

    @property
    def missing_object(self) -> int | None:
        """Row of `MISSING_OBJECT` among the objects, None where relations always have an object."""
        return self.objects.index(self.MISSING_OBJECT) if self.MISSING_OBJECT in self.objects else None

    def to_dict(self) -> dict[str, list[str]]:
        """Plain lists, as written to `label_space.json` of a weight folder."""
        return {"objects": list(self.objects), "relations": list(self.relations)}
