"""`export_onnx`: a detector and a label space -> one ONNX file with everything in it."""

import contextlib
import dataclasses
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rlipv2.export.description import INPUT, MASK, OUTPUTS, Description
from rlipv2.export.graph import ExportedDetector
from rlipv2.layers.swin import SwinBackbone
from rlipv2.models.detector import RelationDetector
from rlipv2.ops.files import write_atomically
from rlipv2.predict.predictor import RelationPredictor
from rlipv2.structures import LabelSpace

Sampling = Literal["grid_sample", "take"]
LIMIT = 2**31 - 1
"""Bytes of a protocol buffer, the file format of ONNX."""
EXAMPLE = (160, 192)
"""Height and width that a graph for any size is traced with."""


def export_onnx(
    weights: str | Path | RelationDetector,
    out: str | Path,
    label_space: LabelSpace | str | None = None,
    *,
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    padded: bool = True,
    pixels: Literal["uint8", "float32"] = "uint8",
    opset: int = 18,
    sampling: Sampling = "grid_sample",
    **options: Any,
) -> Description:
    """Writes a detector for one label space as an ONNX file, and returns what the file says about itself.

    The file takes images (and the mask of their padding) and gives boxes, labels and final scores; see docs/export.md.
    It is complete or not there at all: half a file is never left.

    Args:
        weights: weight folder, repository of the Hugging Face Hub, or a detector.
        out: file to write; an older one is replaced.
        label_space: the words, the name of a vocabulary, or None for those saved with the weights.
        size: (height, width) of all images in pixels; None: any, which Swin backbones cannot be exported for.
        batch: number of images; None: any where the size is free, else 1.
        padded: with an input for the padding mask.
        pixels: type of the images; float32 has the same values, 0-255, for runtimes without uint8 inputs.
        opset: version of the ONNX operators, at least 18.
        sampling: how the deformable attention reads the image: `grid_sample` (fast), or `take`, for runtimes
            whose GridSample is missing or wrong; for one size only.
        options: short_side, max_size, mode, subject: as in `RelationPredictor.from_pretrained`.

    Raises:
        ModuleNotFoundError: the packages of the extra `export` are not installed.
        FileNotFoundError: no such weights.
        ValueError: weights of another network, words or sizes that make no sense, or a network too large for a file.
        OSError: the file cannot be written.
    """
    require_packages("onnx", "onnxscript")
    out = _checked_path(Path(out))
    _check_sizes(size, batch, opset)
    predictor = _predictor(weights, options)
    if size is None and isinstance(predictor.detector.backbone, SwinBackbone):
        raise ValueError(
            "Swin backbones pad their windows by amounts that depend on the size of the image, which a graph cannot "
            "follow: give one size (--height, --width)"
        )
    if size is None and sampling == "take":
        raise ValueError(
            "sampling=take: its indices are exported for one number of images and one size; give both (--batch, "
            "--height, --width), or take grid_sample"
        )
    space = predictor.resolve(label_space)
    network = exported_detector(predictor, space, sampling=sampling)
    if size is not None and batch is None:
        batch = 1
    description = Description(
        objects=space.objects,
        relations=space.relations,
        settings=dataclasses.replace(predictor.settings, possible=_possible(predictor, space)).to_dict(),
        size=size,
        batch=batch,
        padded=padded,
        pixels=pixels,
        versions=_versions(),
    )
    write_program(network, out, description, opset=opset)
    return description


def write_program(network: ExportedDetector, out: Path, description: Description, *, opset: int = 18) -> None:
    """Writes a network whose inputs the description tells about.

    Raises:
        ValueError: it is too large for a file.
        OSError: the file cannot be written.
    """
    write_atomically(out, _as_onnx(_program(network, description), description, opset))


def exported_detector(predictor: RelationPredictor, space: LabelSpace, *, sampling: str) -> ExportedDetector:
    """The network of a predictor with the texts of a label space."""
    settings = predictor.settings
    predictor.check_words(space)
    with torch.no_grad():
        texts = predictor.detector.encode_texts(space)
    named = settings.mode == "hoi" or settings.subject_filter
    return ExportedDetector(
        predictor.detector,
        texts,
        mode=settings.mode,
        subject_label=space.objects.index(settings.subject) if named else 0,
        subject_filter=settings.subject_filter,
        sampling=sampling,
    )


def _possible(predictor: RelationPredictor, space: LabelSpace) -> tuple[tuple[str, str], ...] | None:
    """(relation, object) names that count, None: all."""
    valid = predictor.possible(space)
    if valid is None:
        return None
    return tuple((space.relations[relation], space.objects[name]) for relation, name in valid.nonzero().tolist())


def require_packages(*names: str) -> None:
    """Raises a `ModuleNotFoundError` that says what to install where one of the packages is missing."""
    from importlib import import_module

    for name in names:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"this needs {name}: pip install -e '.[export]'", name=name) from error


def _predictor(weights: str | Path | RelationDetector, options: dict[str, Any]) -> RelationPredictor:
    if not isinstance(weights, str | Path):
        if options:
            raise ValueError(f"{sorted(options)}: only with a weight folder; set `detector.inference` instead")
        return RelationPredictor(weights, device="cpu")
    return RelationPredictor.from_pretrained(weights, device="cpu", **options)


def _checked_path(path: Path) -> Path:
    """Fails before minutes of work, not after."""
    if path.suffix != ".onnx":
        raise ValueError(f"{path}: expected the name of a file that ends in .onnx")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder; give the name of a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(
            f"{path}: cannot be written ({error.strerror or error}); give another place with --out"
        ) from error
    return path


def _check_sizes(size: tuple[int, int] | None, batch: int | None, opset: int) -> None:
    if size is not None and min(size) < 32:
        raise ValueError(f"height={size[0]}, width={size[1]}: expected at least 32 pixels each")
    if batch is not None and batch < 1:
        raise ValueError(f"batch={batch}: expected at least 1")
    if not 18 <= opset <= 23:
        raise ValueError(f"opset={opset}: expected 18 to 23")


def _program(network: ExportedDetector, description: Description) -> torch.export.ExportedProgram:
    """The traced network; what is not fixed stays free."""
    size, batch = description.size, description.batch
    height, width = size or EXAMPLE
    # 3 and the sides of EXAMPLE are no numbers that the network knows, which a free axis would be taken for
    shape = (3 if batch is None else batch, 3, height, width)
    images = torch.zeros(shape, dtype=getattr(torch, description.pixels))
    inputs: tuple[Tensor, ...] = (images,)
    free = {axis: torch.export.Dim.DYNAMIC for axis in (2, 3) if size is None}
    if batch is None:
        free[0] = torch.export.Dim.DYNAMIC
    shapes: tuple[Any, ...] = (free or None,)
    if description.padded:
        inputs += (torch.zeros(shape[0], height, width, dtype=torch.bool),)
        shapes += ({axis - (axis > 0): dim for axis, dim in free.items()} or None,)
    # Tracing as Python code, not by running it, keeps len() and int() of free sizes free.
    with torch.no_grad(), _quiet():
        return torch.export.export(network, inputs, dynamic_shapes=shapes, strict=bool(free))


def _as_onnx(program: torch.export.ExportedProgram, description: Description, opset: int) -> bytes:
    """The file."""
    names = [INPUT, MASK] if description.padded else [INPUT]
    with _quiet():
        converted: Any = torch.onnx.export(
            program,
            dynamo=True,
            input_names=names,
            output_names=list(OUTPUTS),
            opset_version=opset,
            optimize=True,
            verbose=False,
            dynamic_shapes=None,
        )
    model = converted.model_proto
    _name_axes(model, description)
    for key, value in description.to_metadata().items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.producer_version = "rlipv2", description.versions["rlipv2"]
    if (needed := model.ByteSize()) > LIMIT:
        raise ValueError(f"the network needs {needed / 2**30:.1f} GiB, and a file of ONNX holds 2 at most")
    content: bytes = model.SerializeToString()
    return content


def _name_axes(model: Any, description: Description) -> None:
    """Readable names of the free axes of inputs and outputs; those of values in between, made of others, go."""
    del model.graph.value_info[:]
    axes = {"images": ("batch", None, "height", "width"), MASK: ("batch", "height", "width")}
    for value in (*model.graph.input, *model.graph.output):
        names = axes.get(value.name, ("batch",))
        for axis, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            if name is not None and not axis.HasField("dim_value"):
                axis.dim_param = name


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress and the hints that torch and onnxscript print for developers of exporters."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _versions() -> dict[str, str]:
    found = {}
    for name in ("rlipv2", "torch", "onnx", "onnxscript"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # used from a checkout that is not installed
            found[name] = "unknown"
    return found
