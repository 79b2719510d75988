"""Random boxes with crowd regions, and the figures that pycocotools gives for them when it is used directly."""

import contextlib
import io
import json

import numpy as np

from rlipv2.metrics.coco.protocol import BoxDetections, BoxTruth


def case(seed: int, *, images: int = 40, detections: int = 30, categories=(1, 2, 3, 90), crowd: float = 0.2):
    """Labels and detections; scores have two digits, so that many are equal, and boxes lie on a coarse grid."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(0, 8, images)
    ptr = np.concatenate([[0], np.cumsum(counts)])
    boxes = np.concatenate(
        [generator.uniform(0, 300, (ptr[-1], 2)), generator.uniform(4, 200, (ptr[-1], 2))], 1
    ).round()
    truth = BoxTruth(
        image_ids=np.arange(images) * 7 + 3,
        boxes=boxes,
        category_ids=generator.choice(categories, ptr[-1]),
        areas=boxes[:, 2:].prod(1) * generator.uniform(0.4, 1, ptr[-1]).round(2),
        crowd=generator.random(ptr[-1]) < crowd,
        box_ptr=ptr,
    )
    rows = np.concatenate([_detected(generator, truth, image, detections) for image in range(images)])
    rows = rows[generator.permutation(len(rows))]  # detections need not be in the order of images
    return truth, BoxDetections(rows[:, 0].astype(int), rows[:, 1:5], rows[:, 5].astype(int), rows[:, 6])


def _detected(generator, truth, image, count):
    own = np.arange(truth.box_ptr[image], truth.box_ptr[image + 1])
    rows = []
    for _ in range(count):
        category = generator.choice(np.unique(truth.category_ids))
        box = np.concatenate([generator.uniform(0, 300, 2), generator.uniform(4, 200, 2)])
        if len(own) and generator.random() < 0.6:
            chosen = generator.choice(own)
            box = truth.boxes[chosen] + generator.integers(-6, 7, 4)
            category = truth.category_ids[chosen] if generator.random() < 0.8 else category
        box[2:] = np.maximum(box[2:], 1)
        rows.append([image, *box.round(1), category, generator.random().__round__(2)])
    return np.array(rows)


def instances(truth: BoxTruth) -> dict:
    """The labels as the content of an instances file."""
    owner = np.repeat(truth.image_ids, np.diff(truth.box_ptr)).tolist()
    columns = zip(
        owner,
        truth.boxes.tolist(),
        truth.areas.tolist(),
        truth.crowd.tolist(),
        truth.category_ids.tolist(),
        strict=True,
    )
    return {
        "info": {},
        "images": [
            {"id": int(number), "file_name": f"{number}.jpg", "height": 600, "width": 600} for number in truth.image_ids
        ],
        "categories": [{"id": int(number), "name": f"class {number}"} for number in np.unique(truth.category_ids)],
        "annotations": [
            {
                "id": row + 1,
                "image_id": image,
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
                "category_id": category,
            }
            for row, (image, box, area, crowd, category) in enumerate(columns)
        ],
    }


def results(truth: BoxTruth, detections: BoxDetections) -> list[dict]:
    """The detections as the content of a results file."""
    columns = zip(
        truth.image_ids[detections.images].tolist(),
        detections.boxes.tolist(),
        detections.category_ids.tolist(),
        detections.scores.tolist(),
        strict=True,
    )
    return [{"image_id": image, "bbox": box, "category_id": c, "score": score} for image, box, c, score in columns]


def pycocotools_directly(truth: BoxTruth, detections: BoxDetections) -> tuple[np.ndarray, np.ndarray]:
    """The 12 figures and AP of every class, -1 where nothing is labelled, by pycocotools alone."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        labelled = COCO()
        labelled.dataset = instances(truth)
        labelled.createIndex()
        evaluation = COCOeval(labelled, labelled.loadRes(results(truth, detections)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats, evaluation.eval["precision"][:, :, :, 0, -1].mean((0, 1))


def write_files(folder, truth, detections):
    """instances.json and results.json."""
    (folder / "instances.json").write_text(json.dumps(instances(truth)))
    (folder / "results.json").write_text(json.dumps(results(truth, detections)))
    return folder
