"""The micro-world written as detection data: the layouts of COCO 2017 and of Objects365 v2.

The images are others than those of the layouts with relations, as in detection pre-training and pseudo-labelling. For
the latter captions of all images lie beside them (`annotations/captions.json`), and their whole scene graphs
(`truth/scene_graphs.json`), which only scores read.
"""

import json
from pathlib import Path
from typing import Any, Unpack

from rlipv2.microworld.captions import CAPTIONS_FILE, write_captions
from rlipv2.microworld.instances import coco_category_ids, instance_file
from rlipv2.microworld.relations import OBJECTS, PERSON
from rlipv2.microworld.truth import true_graph, write_truth
from rlipv2.microworld.world import Labels, Layout, Place, WorldOptions, write_world
from rlipv2.vocabularies import load

COCO_SPLITS = {"train": "train2017", "test": "val2017"}
OBJECTS365_SPLITS = {"train": "train", "test": "val"}
PATCH = 500  # images in a folder of Objects365


def write_coco(root: str | Path, **options: Unpack[WorldOptions]) -> Path:
    """Writes boxes and classes as COCO 2017 to `root`, or re-uses what is there; see `write_world`.

    The test split is `val2017`. Some idle persons are labelled as one crowd.
    """
    return write_world(root, COCO_LAYOUT, **options)


def _coco_path(place: Place) -> str:
    return f"{COCO_SPLITS[place.split]}/{place.number:012d}.jpg"


def _write_coco(root: Path, labels: Labels) -> dict[str, Any]:
    folder = root / "annotations"
    folder.mkdir()
    counts = {}
    for split, name in COCO_SPLITS.items():
        images = labels[split]
        content = instance_file(images, coco_category_ids(), [Path(drawn.file).name for drawn in images])
        (folder / f"instances_{name}.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
        counts[split] = _counts(content)
    _write_truth_and_captions(root, labels)
    return counts


def _write_truth_and_captions(root: Path, labels: Labels) -> None:
    images = [drawn for split in labels.values() for drawn in split]
    graphs = [true_graph(drawn) for drawn in images]
    write_truth(root, graphs)
    write_captions(root / CAPTIONS_FILE, graphs, images[0].place.world)


def write_objects365(root: str | Path, **options: Unpack[WorldOptions]) -> Path:
    """Writes boxes and classes as Objects365 v2 to `root`, or re-uses what is there; see `write_world`.

    The test split is `val`. Categories are not sorted by id, as in the published files.
    """
    return write_world(root, OBJECTS365_LAYOUT, **options)


def _objects365_path(place: Place) -> str:
    patch = (place.number - 1) // PATCH
    return f"{OBJECTS365_SPLITS[place.split]}/patch{patch}/objects365_v1_{place.number:08d}.jpg"


def objects365_category_ids() -> dict[str, int]:
    """Id (1 to 365) of every object name of this world; the ball is a soccer ball there."""
    names = load("objects365").names
    return {name: names.index("soccer" if name == "sports ball" else name) + 1 for name in (PERSON, *OBJECTS)}


def _write_objects365(root: Path, labels: Labels) -> dict[str, Any]:
    vocabulary = load("objects365")
    categories = sorted(
        ({"id": number, "name": name} for number, name in enumerate(vocabulary.raw_names, 1)),
        key=lambda category: str(category["name"]),
    )
    counts = {}
    for split, name in OBJECTS365_SPLITS.items():
        images = labels[split]
        files = [f"images/v1/{Path(drawn.file).parent.name}/{Path(drawn.file).name}" for drawn in images]
        content = instance_file(images, objects365_category_ids(), files, isfake=0, isreflected=0)
        content["categories"] = categories
        (root / name / f"zhiyuan_objv2_{name}.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
        counts[split] = _counts(content)
    _write_truth_and_captions(root, labels)
    return counts


def _counts(content: dict[str, Any]) -> dict[str, int]:
    crowds = sum(annotation["iscrowd"] for annotation in content["annotations"])
    return {"images": len(content["images"]), "boxes": len(content["annotations"]) - crowds, "crowds": crowds}


COCO_LAYOUT = Layout("coco", "3", _coco_path, _write_coco, own_pictures=True)
OBJECTS365_LAYOUT = Layout("objects365", "3", _objects365_path, _write_objects365, own_pictures=True)
