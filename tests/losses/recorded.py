"""The recorded cases of tests/fixtures/criterion, with their predictions made from the formula."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).parents[1] / "fixtures" / "criterion"
META = json.loads((FIXTURES / "meta.json").read_text())


def unit_uniform(name: str, count: int, seed: int) -> np.ndarray:
    """Numbers of mean 0 and variance 1 from the upper 24 bits of a PCG64 stream that belongs to (seed, name)."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    raw = np.random.PCG64(int.from_bytes(digest[:8], "little")).random_raw(count) >> np.uint64(40)
    return (raw.astype(np.float32) * np.float32(2**-23) - np.float32(1)) * np.float32(np.sqrt(3))


def predictions(case: str, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`pred_*` of a case: class and relation logits 3u, boxes around (0.5, 0.5, 0.3, 0.3)."""
    settings = META["cases"][case]
    fields = {}
    for name in ("sub_logits", "obj_logits", "verb_logits", "sub_boxes", "obj_boxes"):
        width = 4 if name.endswith("boxes") else META["verbs"] if name == "verb_logits" else META["object_columns"]
        shape = (META["layers"], META["batch"], META["queries"], width)
        u = unit_uniform(f"criterion:{case}:pred_{name}", int(np.prod(shape)), settings["seed"]).reshape(shape)
        spread = settings.get("box_spread_factor", 1) * np.array([0.06, 0.06, 0.04, 0.04])
        boxes = np.array([0.5, 0.5, 0.3, 0.3], np.float32) + spread.astype(np.float32) * u[..., :4]
        values = boxes if name.endswith("boxes") else np.float32(3) * u
        values.flat[stored.get(f"set/pred_{name}/index", [])] = stored.get(f"set/pred_{name}/value", [])
        fields[f"pred_{name}"] = values
    return fields


def load_case(case: str) -> dict[str, np.ndarray]:
    """All arrays of a case, named as in the official recording."""
    with np.load(FIXTURES / f"{case}.npz") as file:
        stored = dict(file)
    return {name: value for name, value in stored.items() if not name.startswith("set/")} | predictions(case, stored)


def write_folder(folder: Path, cases: list[str]) -> Path:
    """A folder in the layout of the recording, as `check_criterion` reads it."""
    shutil.copy(FIXTURES / "meta.json", folder / "meta.json")
    meta = json.loads((folder / "meta.json").read_text())
    meta["cases"] = {case: meta["cases"][case] for case in cases}
    (folder / "meta.json").write_text(json.dumps(meta))
    for case in cases:
        np.savez(folder / f"{case}.npz", **load_case(case))
    return folder
