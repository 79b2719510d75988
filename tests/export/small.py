"""Networks that are exported in seconds, with settings for small pictures."""

import copy

import torch

from rlipv2.checkpoints import build_detector
from rlipv2.layers.swin import SwinBackbone
from rlipv2.models import RelationDetector
from rlipv2.models.postprocess import score_pairs
from rlipv2.structures import InferenceSettings
from tests.models import tiny

SETTINGS = InferenceSettings(short_side=64, max_size=96, nms=None)
SWIN = {"embed_dim": 16, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 2, 2]}


def smallest(**settings) -> RelationDetector:
    """One layer of each kind."""
    config = copy.deepcopy(tiny.CONFIG)
    for part in ("encoder", "entity_decoder", "relation_decoder"):
        config[part]["num_layers"] = 1
    return ready(build_detector(config), **settings)


def with_swin(build) -> RelationDetector:
    """The tiny network of a family, with a Swin backbone."""
    torch.manual_seed(0)
    return ready(build(backbone=SwinBackbone("swin_tiny", options=SWIN)))


def ready(detector: RelationDetector, **settings) -> RelationDetector:
    """The detector in evaluation mode, what starts at 0 moved away from it: else whole parts would not matter."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in detector.parameters():
            if weight.dim() > 1 and not weight.any():
                weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    detector.label_space = tiny.LABELS
    detector.inference = InferenceSettings(**(vars(SETTINGS) | settings))
    return detector.eval()


def largest_difference(runtime, detector, space, images, mask) -> float:
    """Between the outputs of an exported file and of the detector; inf where a clear label differs.

    Random weights find some classes equally likely: which of two that differ by rounding comes first is left open.
    """
    settings = detector.inference
    named = settings.mode == "hoi"
    with torch.inference_mode():
        output = detector(images, mask, space)
        expected = score_pairs(
            output,
            mode=settings.mode,
            subject_label=space.objects.index(settings.subject) if named else 0,
        )
    inputs = {"images": images.numpy()} | ({"padding_mask": mask.numpy()} if runtime.description.padded else {})
    names = [output.name for output in runtime.session.get_outputs()]
    worst = 0.0
    for name, value in zip(names, runtime.session.run(None, inputs), strict=True):
        wanted = getattr(expected, name).numpy()
        assert wanted.shape == value.shape, name
        if "labels" in name:
            logits = getattr(output.layer(-1), name.replace("labels", "logits"))
            clear = None if logits is None else _clear(logits[0])
            wrong = (wanted != value) if clear is None else (wanted != value) & clear
            worst = max(worst, float("inf") if wrong.any() else 0.0)
        else:
            worst = max(worst, float(abs(wanted - value).max()))
    return worst


def _clear(logits):
    """Where the best class is better than the second by more than rounding."""
    best = logits.softmax(-1)[..., :-1].topk(2, dim=-1).values
    return (best[..., 0] - best[..., 1] > 1e-5).numpy()
