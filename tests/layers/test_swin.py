import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from rlipv2.checkpoints.official import convert_state
from rlipv2.layers.position_encoding import image_position_encoding
from rlipv2.layers.swin import SwinBackbone
from rlipv2.ops.padding import pad_images
from rlipv2.parity.seeded import seeded_image, seeded_state

RECORDED = Path(__file__).parents[1] / "fixtures" / "parity" / "parseda_swin_t_hico"
SMALL = {"embed_dim": 8, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 2, 4]}
# values of norms and tables of relative positions, counted in the official backbones
FROZEN = {"swin_tiny": 49_242, "swin_large": 184_020}


def small(**arguments):
    torch.manual_seed(0)
    return SwinBackbone(options=SMALL, **arguments)


def blocks(backbone):
    return [block for stage in backbone.body.swin.encoder.layers for block in stage.blocks]


@pytest.mark.parametrize("height_width", [(64, 96), (61, 83), (8, 8), (224, 224)])
def test_maps_have_the_strides_they_promise(height_width):
    height, width = height_width
    backbone = small()
    maps = backbone.eval()(torch.randn(1, 3, height, width))
    assert backbone.channels == (16, 32, 64)
    for feature, channels, stride in zip(maps, backbone.channels, backbone.strides, strict=True):
        assert feature.shape == (1, channels, -(-height // stride), -(-width // stride))


def test_windows_stay_the_same_on_maps_smaller_than_a_window():
    backbone = small().eval()
    image = torch.randn(1, 3, 224, 256)
    with torch.no_grad():
        before = backbone(image)
        backbone(torch.randn(1, 3, 32, 32))
        after = backbone(image)
    assert all(torch.equal(first, second) for first, second in zip(before, after, strict=True))


@pytest.mark.parametrize("name", FROZEN)
def test_norms_and_relative_positions_are_frozen_as_published(name):
    with torch.device("meta"):
        backbone = SwinBackbone(name)
    frozen = {key: value.numel() for key, value in backbone.named_parameters() if not value.requires_grad}
    assert sum(frozen.values()) == FROZEN[name]
    assert any("hidden_states_norms.stage4" in key for key in frozen)
    assert not any("swin.layernorm" in key for key, _ in backbone.named_parameters())


@pytest.mark.parametrize(("name", "rate", "count"), [("swin_tiny", 0.2, 12), ("swin_large", 0.5, 24)])
def test_drop_path_grows_linearly_to_the_published_rate(name, rate, count):
    with torch.device("meta"):
        backbone = SwinBackbone(name)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in blocks(backbone)]
    assert rates == pytest.approx(torch.linspace(0, rate, count).tolist())


def test_drop_path_leaves_out_both_branches_of_a_block():
    backbone = small().train()
    block = blocks(backbone)[-1]
    tokens = torch.randn(2, 12, 64)
    block.drop_path.drop_prob = 1 - 1e-6
    dropped, _ = block(tokens, (3, 4), always_partition=True)
    assert torch.equal(dropped, tokens)
    block.drop_path.drop_prob = 0.0
    kept, _ = block(tokens, (3, 4), always_partition=True)
    assert not torch.allclose(kept, tokens)


def test_drop_path_does_nothing_in_evaluation_and_survives_a_copy():
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        plain, dropping = small(drop_path_rate=0.0).eval()(image), small(drop_path_rate=0.9).eval()(image)
    assert all(torch.equal(first, second) for first, second in zip(plain, dropping, strict=True))
    twin = copy.deepcopy(small())
    hooks = blocks(twin)[-1].mlp._forward_hooks.values()
    assert [hook.args[0] for hook in hooks] == [blocks(twin)[-1].drop_path]


def test_recomputed_activations_give_the_same_gradients_and_keep_less():
    image = torch.randn(2, 3, 96, 96)
    gradients, kept = [], []
    for recompute in (False, True):
        backbone = small(checkpoint_activations=recompute).train()
        sizes = []

        def pack(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        torch.manual_seed(1)  # the same branches are dropped
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = sum(feature.square().mean() for feature in backbone(image))
        kept.append(sum(sizes))
        loss.backward()
        gradients.append([value.grad for value in backbone.parameters() if value.requires_grad])
    assert all(gradient is not None for gradient in gradients[0])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-7)
    assert kept[1] < 0.3 * kept[0]


def test_half_precision_returns_float32_near_the_full_one():
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        full, half = small().eval()(image), small(half_precision=True).eval()(image)
    for first, second in zip(full, half, strict=True):
        assert second.dtype == torch.float32
        assert 0 < (first - second).abs().max() < 0.2


def test_imagenet_weights_come_from_a_folder_of_transformers(tmp_path):
    config = transformers.SwinConfig(**SMALL)
    classifier = transformers.SwinForImageClassification(config)
    with torch.no_grad():
        for value in classifier.parameters():
            value.normal_()
    classifier.save_pretrained(tmp_path)
    body = SwinBackbone(pretrained=tmp_path, options=SMALL).body
    assert all(module.training for module in body.modules())
    own = classifier.state_dict()
    for name, value in body.swin.state_dict().items():
        assert torch.equal(value, own[f"swin.{name}"]), name
    assert all(torch.equal(norm.weight, torch.ones_like(norm.weight)) for norm in body.hidden_states_norms.values())


def test_unknown_sizes_are_refused():
    with pytest.raises(ValueError, match=r"swin_huge.*swin_tiny, swin_large"):
        SwinBackbone("swin_huge")


def test_maps_and_positions_equal_the_official_ones():
    meta = json.loads((RECORDED / "meta.json").read_text())
    keys = json.loads((RECORDED / "state_dict_keys.json").read_text())
    shapes = {key: shape for key, (shape, _) in keys.items() if key.startswith("backbone.")}
    state, report = convert_state(seeded_state(shapes, meta["seed"]))
    assert not report.surprises
    backbone = SwinBackbone(drop_path_rate=0.2).eval()
    backbone.load_state_dict({name.removeprefix("backbone."): value for name, value in state.items()})
    batch, mask = pad_images(
        [seeded_image(f"img{i}", *size, meta["seed"]) for i, size in enumerate(meta["image_sizes_hw"])]
    )
    with torch.no_grad():
        maps = backbone(batch)
    recorded = np.load(RECORDED / "intermediates.npz", allow_pickle=False)
    for level, feature in enumerate(maps):
        np.testing.assert_allclose(feature[:, :16, :5, :5], recorded[f"backbone/{level}/slice"], atol=2e-5)
        np.testing.assert_allclose(feature.flatten(1).mean(1), recorded[f"backbone/{level}/mean_std"][:, 0], atol=1e-6)
        small_mask = torch.nn.functional.interpolate(mask[None].float(), size=feature.shape[-2:])[0].bool()
        # Rows and columns of padding alone hold the sine of huge numbers, whose rounding is part of the result.
        sine = image_position_encoding(small_mask, 256, pixel_offset=backbone.position_offset).permute(0, 3, 1, 2)
        np.testing.assert_allclose(sine[:, ::16, ::3, ::3], recorded[f"pos/{level}/slice"], atol=1e-6)
