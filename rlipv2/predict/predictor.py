"""`RelationPredictor`: a weight folder and any picture -> triplets, prepared and scored as in the evaluation."""

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, overload

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from rlipv2.checkpoints import default_settings, download_weights, load_weights
from rlipv2.models.compilation import compile_network
from rlipv2.models.detector import RelationDetector
from rlipv2.models.postprocess import postprocess
from rlipv2.models.tagger import RelationTagger
from rlipv2.predict.images import ImageError, ImageSource, read_image
from rlipv2.predict.texts import LabelSpaceFeatures
from rlipv2.structures import InferenceSettings, LabelSpace, PairPredictions, RelationOutput, Triplets
from rlipv2.structures.inference import check_nms
from rlipv2.structures.mapping import map_tensors
from rlipv2.transforms import resize_image, resized_size
from rlipv2.vocabularies import named_label_space, possible_combinations

RANKED = 100
"""Triplets of an image that are ranked before repetitions go, as in the evaluation of HICO-DET."""

WINDOW = 8
"""Batches of images that are read before they are sorted by size."""

MIN_SIDE = 8
"""Pixels: an image that is less high or wide after scaling is a stripe that nothing can be seen on."""


Images = list[ImageSource] | tuple[ImageSource, ...] | list[str] | list[Path] | list[Tensor]
"""Several images; the kinds that callers have most lists of are named, as lists of one kind are none of another."""


class RelationPredictor:
    """Finds `person ride bicycle` in pictures, with any words; one object serves all threads of a program.

    Images are scaled, and pairs scored, filtered and freed of repetitions, as when the weights were evaluated: the
    folder keeps these settings in `inference.json`, older ones get the published defaults
    (`rlipv2.checkpoints.default_settings`). Only images of the same scaled size share a batch, without any
    padding, so that the result of an image does not depend on what else is in the list.

    Args:
        detector: the network; it is moved to the device and into evaluation mode.
        settings: None: those that the network brings, or the published defaults.
        device: "auto" (CUDA, else MPS, else the CPU), or a device of torch.
        precision: "bfloat16" runs the network in mixed precision.
        compile: hands the backbone and the layers of encoder and decoders to `torch.compile`, for sizes that
            vary: the first images take minutes longer. Threads then take turns.
        cached_word_lists: label spaces whose text features are kept, the most recently used ones; one of 1,000
            words takes 3 MB with RoBERTa-base.

    Attributes:
        detector: the network.
        settings: what is done besides the network.
        device: where it runs.
        precision: as given.

    Raises:
        ValueError: a Relation Tagger, settings that do not suit the network, or a device that is not there.
    """

    def __init__(
        self,
        detector: RelationDetector,
        settings: InferenceSettings | None = None,
        *,
        device: str | torch.device = "auto",
        precision: Literal["float32", "bfloat16"] = "float32",
        compile: bool = False,
        cached_word_lists: int = 16,
    ) -> None:
        if isinstance(detector, RelationTagger):
            raise ValueError(
                "a Relation Tagger names the relations of boxes that are given and finds none itself; take the "
                "weights of a detector, or give the tagger boxes with pseudo_label.py"
            )
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision={precision!r}: expected float32 or bfloat16")
        if cached_word_lists < 1:
            raise ValueError(f"cached_word_lists={cached_word_lists}: expected at least 1")
        self.settings = settings or detector.inference or default_settings(detector)
        if not detector.head.subject_class and (self.settings.mode == "scene_graph" or self.settings.subject_filter):
            raise ValueError(
                f"mode={self.settings.mode!r}, subject_filter={self.settings.subject_filter}: this network predicts no "
                "subject classes (subject_class=false); use mode='hoi'"
            )
        self.device = _device(device)
        self.precision = precision
        self.detector = detector.to(self.device).eval()
        space = detector.label_space
        self.label_space = space
        self._texts = LabelSpaceFeatures(
            detector, known=() if space is None else (*space.objects, *space.relations), max_lists=cached_word_lists
        )
        self._turn: Any = nullcontext()
        if compile:
            self._turn = threading.Lock()  # compiling is not safe in several threads at once
            compile_network(self.detector)

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path,
        *,
        device: str | torch.device = "auto",
        precision: Literal["float32", "bfloat16"] = "float32",
        short_side: int | None = None,
        max_size: int | None = None,
        mode: Literal["hoi", "scene_graph"] | None = None,
        subject: str | None = None,
        compile: bool = False,
        cached_word_lists: int = 16,
        **hub_options: Any,
    ) -> "RelationPredictor":
        """A predictor with the weights of a folder, or of a repository `owner/name` of the Hugging Face Hub.

        Args:
            weights: folder or repository.
            device: see `RelationPredictor`.
            precision: the same.
            short_side: pixels that the short side is scaled to, instead of the stored setting.
            max_size: limit of the long side in pixels, instead of the stored setting.
            mode: "hoi" makes every subject a person, "scene_graph" anything, instead of the stored setting.
            subject: name of the subjects in `hoi` mode, instead of the stored setting.
            compile: see `RelationPredictor`.
            cached_word_lists: the same.
            hub_options: of `huggingface_hub.snapshot_download`: revision, token, cache_dir, local_files_only, ...

        Raises:
            FileNotFoundError: neither a folder nor a repository, or a file of the folder is missing.
            ValueError: the weights of something else than a relation detector, damaged ones, or settings that make
                no sense.
        """
        folder = download_weights(str(Path(weights).expanduser()), **hub_options)
        detector = load_weights(folder)
        settings = detector.inference or default_settings(detector)
        changes: dict[str, Any] = {"short_side": short_side, "max_size": max_size, "mode": mode, "subject": subject}
        settings = dataclasses.replace(
            settings, **{name: value for name, value in changes.items() if value is not None}
        )
        try:
            return cls(
                detector,
                settings,
                device=device,
                precision=precision,
                compile=compile,
                cached_word_lists=cached_word_lists,
            )
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error

    @overload
    def __call__(
        self,
        images: ImageSource,
        label_space: LabelSpace | str | None = ...,
        *,
        top: int = ...,
        min_score: float = ...,
        batch_size: int = ...,
        nms: float | Literal["saved"] | None = ...,
        only_possible: bool = ...,
    ) -> Triplets: ...
    @overload
    def __call__(
        self,
        images: Images,
        label_space: LabelSpace | str | None = ...,
        *,
        top: int = ...,
        min_score: float = ...,
        batch_size: int = ...,
        nms: float | Literal["saved"] | None = ...,
        only_possible: bool = ...,
    ) -> list[Triplets]: ...
    def __call__(
        self,
        images: ImageSource | Images,
        label_space: LabelSpace | str | None = None,
        *,
        top: int = 100,
        min_score: float = 0.0,
        batch_size: int = 8,
        nms: float | Literal["saved"] | None = "saved",
        only_possible: bool = True,
    ) -> Triplets | list[Triplets]:
        """The best triplets of one image, or a list of them for a list (or tuple) of images, in its order.

        Boxes are x1 y1 x2 y2 in pixels of the image as `read_image` gives it, not clipped to it.

        Args:
            images: a path, `PIL.Image`, array or tensor (see `read_image`), or a list of these.
            label_space: the words to look for; the name of a dataset (`rlipv2.vocabularies.label_space_names`); or
                None for those saved with the weights.
            top: triplets per image, at most.
            min_score: least score.
            batch_size: images at once, at most.
            nms: overlap above which a triplet that repeats a better one goes; None keeps repetitions; "saved" is the
                setting of the weights.
            only_possible: leave out relations of objects that the dataset of the words does not know ("ride
                an apple"), as its evaluation does; other label spaces have no such list.

        Raises:
            ImageError: an image that cannot be used, by name.
            ValueError: words or numbers that make no sense; no label space at all; no word for the subjects.
            TypeError: something that is no image or no label space.
        """
        space = self.resolve(label_space)
        self.check_words(space)
        for name, count in (("top", top), ("batch_size", batch_size)):
            if count < 1:
                raise ValueError(f"{name}={count}: expected at least 1")
        if not min_score >= 0:
            raise ValueError(f"min_score={min_score}: expected a number from 0")
        if nms == "saved":
            nms = self.settings.nms
        check_nms(nms)
        ranking = {"valid": self.possible(space) if only_possible else None, "nms": nms, "min_score": min_score}
        sources = list(images) if isinstance(images, list | tuple) else [images]
        found: list[Triplets] = []
        for start in range(0, len(sources), WINDOW * batch_size):
            pictures = [self._scaled(source) for source in sources[start : start + WINDOW * batch_size]]
            found += self._in_batches(pictures, space, batch_size=batch_size, top=top, **ranking)
        return found if isinstance(images, list | tuple) else found[0]

    def resolve(self, label_space: LabelSpace | str | None = None) -> LabelSpace:
        """The label space that the argument of a call stands for.

        Raises:
            ValueError: an unknown name, no words, or None where the weights bring none.
            TypeError: something else.
        """
        if label_space is None:
            if self.label_space is None:
                raise ValueError(
                    "these weights bring no words; say which to look for: predictor(image, LabelSpace(...))"
                )
            return self.label_space
        if isinstance(label_space, str):
            label_space = named_label_space(label_space)
        if not isinstance(label_space, LabelSpace):
            raise TypeError(f"label_space: expected a LabelSpace, a name or None, got {type(label_space).__name__}")
        for kind in ("objects", "relations"):
            if not getattr(label_space, kind):
                raise ValueError(f"label_space: the list of {kind} is empty; give at least one word")
        return label_space

    def check_words(self, space: LabelSpace) -> None:
        """Refuses words that these weights cannot be asked for.

        Raises:
            ValueError: the word for the subjects is not among them.
        """
        if self._needs_subject and self.settings.subject not in space.objects:
            raise ValueError(
                f"these weights know {self.settings.subject!r} as the only subject of relations: add it to "
                "the objects, or have subjects named too with mode='scene_graph' (--mode scene_graph)"
            )

    @property
    def _needs_subject(self) -> bool:
        return self.settings.mode == "hoi" or self.settings.subject_filter

    def possible(self, space: LabelSpace) -> Float[Tensor, "r o"] | None:
        """1 where (relation, object) counts in the evaluation, None where nothing is known."""
        if self.settings.possible is not None and space == self.label_space:
            valid = torch.zeros(len(space.relations), len(space.objects))
            for relation, name in self.settings.possible:
                valid[space.relations.index(relation), space.objects.index(name)] = 1
            return valid
        known = possible_combinations(space)
        return None if known is None else torch.from_numpy(known)

    def _scaled(self, source: ImageSource) -> tuple[UInt8[Tensor, "3 h w"], tuple[int, int]]:
        """The image as the network gets it, and its (height, width) before."""
        image = read_image(source)
        height, width = image.shape[1:]
        size = resized_size(height, width, self.settings.short_side, self.settings.max_size)
        if min(size) < MIN_SIDE:
            name = str(source) if isinstance(source, str | Path) else type(source).__name__
            raise ImageError(
                name, f"{width} x {height} pixels, scaled to {size[1]} x {size[0]}: too narrow; cut it into pieces"
            )
        return resize_image(image, size), (height, width)

    def _in_batches(
        self,
        pictures: Sequence[tuple[Tensor, tuple[int, int]]],
        space: LabelSpace,
        *,
        batch_size: int,
        top: int,
        **ranking: Any,
    ) -> list[Triplets]:
        found: list[Triplets | None] = [None] * len(pictures)
        for rows in _same_size([picture.shape for picture, _ in pictures], batch_size):
            sizes = [pictures[row][1] for row in rows]
            predictions = self._predict(torch.stack([pictures[row][0] for row in rows]), sizes, space)
            for row, size, pairs in zip(rows, sizes, predictions, strict=True):
                ranked = _ranked(pairs, space, max(top, RANKED), **ranking).top(top)
                found[row] = dataclasses.replace(ranked, image_size=size)
        return [triplets for triplets in found if triplets is not None]

    def _predict(
        self, images: UInt8[Tensor, "b 3 h w"], sizes: Sequence[tuple[int, int]], space: LabelSpace
    ) -> list[PairPredictions]:
        """All pairs of images of one size, boxes in original pixels, on the CPU."""
        texts = self._texts(space)
        images = images.to(self.device)
        padding = torch.zeros_like(images[:, 0], dtype=torch.bool)
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        with self._turn, torch.inference_mode(), half:
            output = _in_full_precision(self.detector(images, padding, texts).layer(-1))
        if not torch.isfinite(output.relation_logits).all():
            raise FloatingPointError(
                "the network gave scores that are no numbers: damaged weights, or too large values for "
                f"precision={self.precision!r}"
            )
        predictions = postprocess(
            output,
            torch.tensor(sizes, device=self.device),
            mode=self.settings.mode,
            subject_label=space.objects.index(self.settings.subject) if self._needs_subject else 0,
            subject_filter=self.settings.subject_filter,
        )
        return [pairs.to("cpu") for pairs in predictions]


def _ranked(
    pairs: PairPredictions,
    space: LabelSpace,
    count: int,
    *,
    valid: Float[Tensor, "r o"] | None,
    nms: float | None,
    min_score: float,
) -> Triplets:
    triplets = pairs.top(count, space, valid)
    if valid is not None:  # the ranking leaves what is impossible at its end, with score 0
        triplets = triplets.select(valid[triplets.relation_labels, triplets.object_labels] > 0)
    if nms is not None:
        triplets = triplets.distinct(nms)
    return triplets.filter(min_score)


def _same_size(shapes: Sequence[torch.Size], batch_size: int) -> Iterator[list[int]]:
    """Positions of images of one size, at most `batch_size` at once."""
    groups: dict[torch.Size, list[int]] = {}
    for row, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(row)
    for rows in groups.values():
        yield from (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))


def _in_full_precision(output: RelationOutput) -> RelationOutput:
    return map_tensors(output, lambda _, tensor: tensor.float())


def _device(name: str | torch.device) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device={name!r}: expected auto, cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device={name!r}: this machine shows {torch.cuda.device_count()} CUDA devices to torch")
    if device.type == "mps" and not torch.mps.is_available():
        raise ValueError(f"device={name!r}: torch finds no MPS device here")
    return device
