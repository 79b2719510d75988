"""COCO figures as JSON and as a table; every figure stands under the name of the backend that computed it."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from rlipv2.metrics.coco.protocol import BACKENDS, Backend, COCOFigures

PACKAGES: dict[Backend, str] = {"faster_coco_eval": "faster-coco-eval", "pycocotools": "pycocotools"}


def as_json(results: Mapping[Backend, COCOFigures], names: Mapping[int, str]) -> dict[str, Any]:
    """The figures of the first backend at the top level, those of each under `backends`.

    Fractions between 0 and 1; None where nothing is labelled. `coco_eval_bbox` is the list in the order of COCO's own
    summary, as the official logs have it.
    """
    parts = {backend: _figures(result, names) for backend, result in results.items()}
    first = next(iter(parts))
    return {"backend": first, **parts[first], "backends": parts}


def _figures(result: COCOFigures, names: Mapping[int, str]) -> dict[str, Any]:
    values = {name: _or_none(value) for name, value in result.values.items()}
    return {
        **values,
        "coco_eval_bbox": list(values.values()),
        "class_ap": {names.get(number, str(number)): _or_none(value) for number, value in result.class_ap.items()},
    }


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def as_table(results: Mapping[Backend, COCOFigures], *, images: int, boxes: int, crowds: int, detections: int) -> str:
    """The same figures in per cent, one line per backend."""
    figures = list(next(iter(results.values())).values)
    lines = [
        f"COCO: {images:,} images, {boxes:,} labelled boxes and {crowds:,} crowd regions, {detections:,} detections",
        "",
        "per cent".ljust(30) + "".join(name.rjust(8) for name in figures),
    ]
    for backend, result in results.items():
        cells = ["-" if np.isnan(value) else f"{100 * value:.3f}" for value in result.values.values()]
        title = f"{backend} {version(PACKAGES[backend])}"
        lines.append(title.ljust(30) + "".join(cell.rjust(8) for cell in cells))
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Versions of the packages that compute the figures."""
    return {backend: version(PACKAGES[backend]) for backend in BACKENDS} | {"torchmetrics": version("torchmetrics")}
