"""The strict reader of vocabulary files and the wording of class names."""

import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = "rlipv2-vocab/1"
PROMPTS = {"raw": "{raw}", "ing": "{ing}"}


class VocabularyError(ValueError):
    """A vocabulary that does not exist, has another format or contradicts itself."""


def read_vocabulary(path: Path) -> dict[str, Any]:
    """The content of a vocabulary file, whose `format` has been checked.

    Raises:
        VocabularyError: no such file, no JSON, or a format that this release does not know.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VocabularyError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise VocabularyError(f"{path}: not JSON ({error})") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise VocabularyError(f"{path}: format={found!r}: this release reads {FORMAT!r} only")
    return content


def index_array(
    content: Mapping[str, Any], key: str, path: Path, *, shape: tuple[int | None, ...], limit: Sequence[int] = ()
) -> np.ndarray:
    """The integers under `key` as an array of `shape` (None: any length).

    `limit` bounds the last axis, exclusive: one number for all values, or one per column.

    Raises:
        VocabularyError: missing, not integers, of another shape, or out of bounds.
    """
    try:
        array = np.array(content[key])
    except KeyError:
        raise VocabularyError(f"{path}: the key {key!r} is missing") from None
    except ValueError:
        raise VocabularyError(f"{path}: {key}: rows of different lengths") from None
    array = array.reshape(array.shape if array.size else tuple(length or 0 for length in shape))
    if array.size and array.dtype.kind != "i":
        raise VocabularyError(f"{path}: {key}: expected integers only")
    if array.ndim != len(shape) or any(b is not None and a != b for a, b in zip(array.shape, shape, strict=True)):
        expected = " x ".join("any" if length is None else str(length) for length in shape)
        raise VocabularyError(f"{path}: {key}: shape {array.shape}, expected {expected}")
    if (array < 0).any() or (len(limit) and (array >= np.array(limit)).any()):
        raise VocabularyError(f"{path}: {key}: a value lies outside 0..{max(limit, default=0) - 1}")
    return array.astype(np.int64)


def word(prompt: str, raw: Sequence[str], ing: Sequence[str] | None = None) -> tuple[str, ...]:
    """Class names in the wording of `prompt`: "raw", "ing" or a template with `{raw}` or `{ing}`.

    >>> word("a person {ing} something", ["sit on"], ["sitting on"])
    ('a person sitting on something',)

    Raises:
        ValueError: neither a name nor a template, or `{ing}` where no participles are known.
    """
    template = PROMPTS.get(prompt, prompt)
    known = {"raw"} if ing is None else {"raw", "ing"}
    fields = {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
    if not fields or not fields <= known:
        allowed = " or ".join(f"{{{name}}}" for name in sorted(known))
        raise ValueError(f"prompt {prompt!r}: expected one of {sorted(known)} or a template with {allowed}")
    return tuple(template.format(raw=r, ing=i) for r, i in zip(raw, ing or raw, strict=True))
