"""Folders of results as a run leaves them, without running one."""

import io
import json
import random
from pathlib import Path

from PIL import Image, ImageDraw

from rlipv2.predict.names import COPIES, DRAWN, THUMBNAILS, picture_name
from rlipv2.predict.results import write_run

OBJECTS = ("person", "bicycle", "dog", "kite", "umbrella", "chair")
RELATIONS = ("ride", "hold", "walk", "fly", "sit on", "next to")


def triplet(subject="person", relation="ride", target="bicycle", score=0.9, boxes=((4, 4, 20, 20), (10, 12, 30, 22))):
    return {
        "subject": subject,
        "relation": relation,
        "object": target,
        "score": score,
        "subject_box": list(boxes[0]),
        "object_box": list(boxes[1]),
    }


def write_results(folder: Path, lines, *, errors=(), videos=(), size=(160, 120), pictures=True, settings=None) -> Path:
    """The files of a run with these lines; pictures differ in colour."""
    lines = list(lines)
    for name, content in (("predictions", lines), ("errors", errors), ("videos", videos)):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in content))
    write_run(folder, {"settings": settings or {"min_score": 0.0, "objects": ["person"]}})
    contents = [_picture(size, number) for number in range(12)] if pictures else []
    for number, name in enumerate(dict.fromkeys(line["image"] for line in lines) if pictures else ()):
        for place in (COPIES, THUMBNAILS, DRAWN):
            path = folder / place / picture_name(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents[number % len(contents)])
    return folder


def _picture(size, number) -> bytes:
    picture, content = Image.new("RGB", size, ((40 + 37 * number) % 256, (90 + 11 * number) % 256, 120)), io.BytesIO()
    ImageDraw.Draw(picture).ellipse((20, 20, 60 + number, 80), fill=(230, 220, 200))
    picture.save(content, format="JPEG")
    return content.getvalue()


def many_lines(count: int, *, number: int = 30, size=(160, 120), seed: int = 0):
    """Lines of `count` images with random triplets, best first."""
    generator = random.Random(seed)

    def box():
        x, y = generator.uniform(0, size[0] - 40), generator.uniform(0, size[1] - 40)
        return x, y, x + generator.uniform(15, 40), y + generator.uniform(15, 40)

    for index in range(count):
        triplets = [
            triplet(
                generator.choice(OBJECTS[:2]),
                generator.choice(RELATIONS),
                generator.choice(OBJECTS),
                generator.random() ** 3,
                (box(), box()),
            )
            for _ in range(number)
        ]
        triplets.sort(key=lambda row: -row["score"])
        yield {"image": f"in/{index:05d}.jpg", "width": size[0], "height": size[1], "triplets": triplets}
