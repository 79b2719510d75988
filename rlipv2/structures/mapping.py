"""Copies of dataclasses with a function applied to their tensors."""

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import Tensor


def map_tensors(structure: Any, function: Callable[[str, Tensor], Tensor]) -> Any:
    """A copy of a dataclass with `function(field name, tensor)` applied to its tensors."""
    return map_parts(structure, Tensor, function)


def map_parts(structure: Any, kind: type, function: Callable[[str, Any], Any]) -> Any:
    """The same with everything of another kind in its fields."""
    values = {field.name: getattr(structure, field.name) for field in dataclasses.fields(structure)}
    return dataclasses.replace(
        structure, **{name: function(name, value) for name, value in values.items() if isinstance(value, kind)}
    )
