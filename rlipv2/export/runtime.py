"""`OnnxRelationPredictor`: an exported file and pictures -> triplets, with NumPy, Pillow and onnxruntime alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from rlipv2.export.description import INPUT, MASK, OUTPUTS, Description
from rlipv2.ops.nms import pairwise_nms
from rlipv2.ops.sizes import resized_size
from rlipv2.predict.pixels import ImageError, PixelSource, read_pixels

RANKED = 100
"""As in `rlipv2.predict.predictor`."""

MIN_SIDE = 8
"""The same."""


class OnnxRelationPredictor:
    """Runs a detector that `export_onnx` wrote; what it gives is what `RelationPredictor` gives as dictionaries.

    Nothing of it needs torch. Pillow scales the images in place of torchvision, which differs by one level of 255 in
    few pixels. Files for one size get images that are scaled into it and padded (stretched to it, if
    the file has no padding mask), so their scores differ from those of a network that takes any size.

    Args:
        path: the ONNX file.
        providers: of onnxruntime, in order of preference; None: the CPU.
        threads: on the CPU; None: as many as there are cores.

    Attributes:
        description: label space, settings and sizes, from the file.
        session: the session of onnxruntime.

    Raises:
        ModuleNotFoundError: onnxruntime is not installed.
        FileNotFoundError: no such file.
        ValueError: not a file of `export_onnx`.
    """

    def __init__(self, path: str | Path, *, providers: Sequence[str] | None = None, threads: int | None = None) -> None:
        try:
            import onnxruntime  # type: ignore[import-untyped]
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "this needs onnxruntime: pip install -e '.[export]'", name="onnxruntime"
            ) from error
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such file; write it with `python -m rlipv2 export`")
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        providers = list(providers or ["CPUExecutionProvider"])
        try:
            self.session: Any = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime has an exception for every status, without a common base
            raise ValueError(f"{path}: onnxruntime cannot read it ({error})") from error
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.description = Description.from_metadata(metadata, str(path))
        self._valid = _valid(self.description)

    def __call__(
        self,
        images: PixelSource | list[PixelSource],
        *,
        top: int = 100,
        min_score: float = 0.0,
        only_possible: bool = True,
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """The best triplets of one image as `Triplets.to_dict` gives them, or a list of these for a list.

        Boxes are x1 y1 x2 y2 in pixels of the image, not clipped to it.

        Args:
            images: a path, `PIL.Image` or array (see `rlipv2.predict.pixels.read_pixels`), or a list of these.
            top: triplets per image, at most.
            min_score: least score.
            only_possible: leave out relations of objects that the dataset of the words does not know.

        Raises:
            ImageError: an image that cannot be used, by name.
            ValueError: numbers that make no sense.
        """
        if top < 1 or not min_score >= 0:
            raise ValueError(f"top={top}, min_score={min_score}: expected at least 1, and a number from 0")
        valid = self._valid if only_possible else None
        sources = images if isinstance(images, list) else [images]
        found = []
        for source in sources:
            pixels = read_pixels(source)
            outputs = self.run([self.scaled(pixels)])
            found.append(self._triplets(outputs, pixels.shape[:2], top=top, min_score=min_score, valid=valid))
        return found if isinstance(images, list) else found[0]

    def scaled(self, pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
        """The image as the network gets it, before padding.

        Raises:
            ImageError: it is a stripe that nothing can be seen on.
        """
        settings, fixed = self.description.settings, self.description.size
        height, width = pixels.shape[:2]
        size = resized_size(height, width, settings["short_side"], settings["max_size"])
        if fixed is not None:
            share = min(fixed[0] / size[0], fixed[1] / size[1], 1.0)
            size = (max(1, int(size[0] * share)), max(1, int(size[1] * share))) if self.description.padded else fixed
        if min(size) < MIN_SIDE:
            name = f"{width} x {height} pixels"
            raise ImageError(name, f"scaled to {size[1]} x {size[0]}: too narrow; cut it into pieces")
        if size == (height, width):
            return pixels
        image = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(image)

    def run(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> dict[str, np.ndarray]:
        """The outputs of the network for scaled images, padded to a common size; boxes 0-1 of each image.

        A file for more images than are given gets them filled up; the outputs are those of the given ones.

        Raises:
            ValueError: more images, or larger ones, than the file is for; padding where it has no mask.
        """
        info = self.description
        count = info.batch or len(images)
        height, width = info.size or tuple(np.max([image.shape[:2] for image in images], axis=0).tolist())
        if len(images) > count or any(image.shape[0] > height or image.shape[1] > width for image in images):
            raise ValueError(f"{len(images)} images: this file is for {count} of at most {width} x {height} pixels")
        batch = np.zeros((count, 3, height, width), info.pixels)
        mask = np.ones((count, height, width), bool)
        mask[len(images) :] = False  # nobody reads what comes of these, but an image without a pixel divides by 0
        for row, image in enumerate(images):
            batch[row, :, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
            mask[row, : image.shape[0], : image.shape[1]] = False
        if not info.padded and mask.any():
            raise ValueError("images of several sizes: this file has no padding mask; give images of one size")
        inputs = {INPUT: batch} | ({MASK: mask} if info.padded else {})
        values = self.session.run(list(OUTPUTS), inputs)
        return {name: value[: len(images)] for name, value in zip(OUTPUTS, values, strict=True)}

    def _triplets(
        self,
        outputs: dict[str, np.ndarray],
        size: tuple[int, int],
        *,
        top: int,
        min_score: float,
        valid: Bool[np.ndarray, "r o"] | None,
    ) -> dict[str, Any]:
        """The dictionary of the first image."""
        info, first = self.description, {name: value[0] for name, value in outputs.items()}
        pairs, relations, scores = _ranked(first, max(top, RANKED), valid, filtered=info.settings["subject_filter"])
        scale = np.array([size[1], size[0]] * 2, np.float32)
        boxes = [first[name][pairs] * scale for name in ("subject_boxes", "object_boxes")]
        labels = [first[name][pairs] for name in ("subject_labels", "object_labels")]
        keep = scores >= min_score
        if info.settings["nms"] is not None:
            groups = np.unique(np.stack([labels[0], relations, labels[1]], 1), axis=0, return_inverse=True)[1]
            keep &= pairwise_nms(groups.reshape(-1), boxes[0], boxes[1], threshold=info.settings["nms"])
        triplets = [
            {
                "subject": info.objects[labels[0][row]],
                "relation": info.relations[relations[row]],
                "object": info.objects[labels[1][row]],
                "score": round(float(scores[row]), 6),
                "subject_box": [round(float(value), 2) for value in boxes[0][row]],
                "object_box": [round(float(value), 2) for value in boxes[1][row]],
            }
            for row in np.flatnonzero(keep)[:top]
        ]
        return {"width": int(size[1]), "height": int(size[0]), "triplets": triplets}


def _ranked(
    outputs: dict[str, np.ndarray], count: int, valid: Bool[np.ndarray, "r o"] | None, *, filtered: bool
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Pair, relation and score of the best triplets, ties in order of (pair, relation)."""
    scores = outputs["relation_scores"]
    allowed = np.ones(scores.shape, bool) if valid is None else valid.T[outputs["object_labels"]]
    if filtered:  # pairs without the subject
        allowed = allowed & scores.any(1, keepdims=True)
    order = np.argsort(-np.where(allowed, scores, 0).reshape(-1), kind="stable")[:count]
    order = order[allowed.reshape(-1)[order]]
    pairs, relations = np.divmod(order, scores.shape[1])
    return pairs, relations, scores.reshape(-1)[order]


def _valid(description: Description) -> Bool[np.ndarray, "r o"] | None:
    """Which combinations count."""
    possible = description.settings.get("possible")
    if possible is None:
        return None
    valid = np.zeros((len(description.relations), len(description.objects)), bool)
    for relation, names in possible.items():
        for name in names:
            valid[description.relations.index(relation), description.objects.index(name)] = True
    return valid
