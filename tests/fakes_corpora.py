"""Writes miniatures of the corpora of relational pre-training: Visual Genome, COCO, Objects365, HICO-DET."""

from pathlib import Path
from typing import Any

from tests.fakes import write_image, write_json
from tests.fakes_vg import graph, write_vg

MAN, DOG = ("man", (3, 2, 20, 15)), ("dog", (9, 5, 20, 15))
FAR = ("kite", (50, 30, 10, 10))
COCO_FILE, O365_FILE, HICO_FILE = "annotations/coco.json", "rel_annotations/o365.json", "annotations/hico.json"


def coco_graphs() -> list[dict[str, Any]]:
    """Ids 3 to 6, which Visual Genome has too; image 4 keeps no relation at 0.2, image 6 is of val2017."""
    split = {"dataset": "coco2017"}
    return [
        graph(3, [MAN, DOG, FAR], [(0, "holding", 1, 0.2), (0, "flying", 2, 0.9), (1, "near", 2, 0.1)], **split),
        graph(4, [MAN, DOG], [(0, "on", 1, 0.19), (1, "on", 0, 0.01)], **split),
        graph(5, [DOG, MAN], [(0, "pulling", 1, 0.6), (1, "holding", 0, 0.7), (1, "on", 0, 0.5)], **split),
        graph(6, [MAN, DOG], [(0, "walking", 1, 0.8)], data_split="val2017", **split),
    ]


def o365_graphs() -> list[dict[str, Any]]:
    """Two images of two patches."""
    return [
        graph(3, [DOG, FAR], [(0, "chasing", 1, 0.4)], dataset="o365"),
        graph(900461, [MAN, FAR], [(0, "flying", 1, 0.3), (1, "over", 0, 0.05)], dataset="o365"),
    ]


def hico_graphs() -> list[dict[str, Any]]:
    """Two images with file names as ids, and relations of people."""
    return [
        graph(f"HICO_train2015_0000000{number}.jpg", [MAN, DOG], [(0, verb, 1)], dataset="hico")
        for number, verb in ((1, "walk"), (2, "no interaction"))
    ]


def write_corpora(root: Path) -> dict[str, dict[str, Any]]:
    """Writes all four below `root` and returns the settings of each, as in `corpora` of the data module."""
    write_vg(root / "vg")
    listed = {"3": "val/patch0/objects365_v1_00000003.jpg", "900461": "train/patch16/objects365_v2_00900461.jpg"}
    images = {
        "coco": [f"{'val' if number == 6 else 'train'}2017/{number:012d}.jpg" for number in (3, 4, 5, 6)],
        "objects365": list(listed.values()),
        "hico": [f"images/train2015/{record['image_id']}" for record in hico_graphs()],
    }
    for corpus, files in images.items():
        for seed, file in enumerate(files):
            (root / corpus / file).parent.mkdir(parents=True, exist_ok=True)
            write_image(root / corpus / file, (48, 64), seed=seed)
    write_json(root / "coco" / COCO_FILE, coco_graphs())
    write_json(root / "objects365" / O365_FILE, o365_graphs())
    write_json(root / "objects365/image_id_to_filepath.json", listed)
    write_json(root / "hico" / HICO_FILE, hico_graphs())
    return {
        "vg": {"root": str(root / "vg")},
        "coco": {"root": str(root / "coco"), "annotations": COCO_FILE},
        "objects365": {
            "root": str(root / "objects365"),
            "annotations": O365_FILE,
            "image_paths": "image_id_to_filepath.json",
        },
        "hico": {"root": str(root / "hico"), "annotations": HICO_FILE},
    }
