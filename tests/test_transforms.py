import dataclasses

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from rlipv2.ops.padding import interleaved
from rlipv2.structures import Annotation, LabelSpace, Sample
from rlipv2.transforms import (
    ColorJitter,
    Compose,
    HorizontalFlip,
    RandomCrop,
    Resize,
    eval_transform,
    resized_size,
    train_transform,
)

LABEL_SPACE = LabelSpace(objects=("person", "dog"), relations=("hold", "walk"))


def make_sample(height=60, width=80, boxes=((10, 10, 30, 40), (20, 5, 70, 50)), relations=((0, 1, 0),)):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    annotation = Annotation(
        image_id=7,
        file_name="a.jpg",
        boxes_xyxy=boxes,
        labels=torch.arange(len(boxes)) % 2,
        relations=torch.tensor(relations, dtype=torch.int64).reshape(-1, 3),
    )
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=seeded(0))
    return Sample(image=image, annotation=annotation, label_space=LABEL_SPACE, original_size=(height, width))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((640, 480), (1066, 800)),
        ((480, 640), (800, 1066)),
        ((1333, 500), (1333, 500)),
        ((2000, 300), (1333, 200)),
        ((37, 1000), (49, 1324)),
        ((1024, 365), (1332, 475)),
    ],
)
def test_sizes_follow_the_official_arithmetic(given, expected):
    width, height = given
    assert resized_size(height, width, 800, 1333) == expected[::-1]


def test_no_limit_of_the_long_side():
    assert resized_size(100, 1000, 200) == (200, 2000)


def test_short_side_already_right_keeps_the_image():
    sample = make_sample()
    assert torch.equal(Resize([60], 1333)(sample).image, sample.image)


def test_resize_scales_boxes_by_the_actual_sizes():
    sample = make_sample(height=365, width=1024)
    resized = Resize([800], 1333)(sample)
    scale = torch.tensor([1332 / 1024, 475 / 365] * 2)
    assert resized.image.shape == (3, 475, 1332)
    torch.testing.assert_close(resized.annotation.boxes_xyxy, sample.annotation.boxes_xyxy * scale)


def test_flip_mirrors_boxes_with_the_image():
    sample = make_sample()
    flipped = HorizontalFlip(1.0)(sample)
    assert flipped.annotation.boxes_xyxy[0].tolist() == [50, 10, 70, 40]
    assert torch.equal(flipped.image[:, :, 0], sample.image[:, :, -1])


def test_flip_twice_is_the_identity():
    sample = make_sample()
    again = HorizontalFlip(1.0)(HorizontalFlip(1.0)(sample))
    assert torch.equal(again.image, sample.image)
    assert torch.equal(again.annotation.boxes_xyxy, sample.annotation.boxes_xyxy)


def test_flip_happens_half_of_the_time():
    sample, generator = make_sample(), seeded(0)
    flips = sum(HorizontalFlip()(sample, generator) is not sample for _ in range(400))
    assert 160 < flips < 240


@pytest.mark.parametrize("seed", range(8))
def test_crop_removes_exactly_the_boxes_without_overlap(seed):
    boxes = [(x, y, x + 8, y + 8) for x in range(0, 72, 8) for y in range(0, 52, 8)]
    sample = make_sample(boxes=boxes, relations=[(i, len(boxes) - 1 - i, i % 2) for i in range(len(boxes))])
    crop = RandomCrop(16, 40)
    pixel = torch.arange(60 * 80, dtype=torch.int32).reshape(1, 60, 80).repeat(3, 1, 1)
    out = crop(dataclasses.replace(sample, image=pixel), seeded(seed))
    top, left = divmod(int(out.image[0, 0, 0]), 80)
    height, width = out.image.shape[-2:]
    inside = [
        i
        for i, (x1, y1, x2, y2) in enumerate(boxes)
        if x2 > left and x1 < left + width and y2 > top and y1 < top + height
    ]
    assert len(out.annotation.boxes_xyxy) == len(inside)
    assert out.annotation.labels.tolist() == [i % 2 for i in inside]
    kept = [(inside.index(s), inside.index(o), r) for s, o, r in sample.annotation.relations.tolist()
            if s in inside and o in inside]  # fmt: skip
    assert [tuple(row) for row in out.annotation.relations.tolist()] == kept


def test_crop_of_a_small_image_keeps_it_whole():
    sample = make_sample()
    assert torch.equal(RandomCrop(384, 600)(sample, seeded(0)).image, sample.image)


def test_crop_sides_include_both_ends():
    sizes = {tuple(RandomCrop(58, 59)(make_sample(), seeded(seed)).image.shape[-2:]) for seed in range(40)}
    assert sizes == {(58, 58), (58, 59), (59, 58), (59, 59)}


def test_colour_jitter_stays_within_its_factors():
    sample = make_sample()
    grey = dataclasses.replace(sample, image=torch.full((3, 8, 8), 100, dtype=torch.uint8))
    values = {int(ColorJitter(0.4, 0, 0)(grey, seeded(seed)).image[0, 0, 0]) for seed in range(60)}
    assert 60 <= min(values) < 70
    assert 130 < max(values) <= 140


@pytest.mark.parametrize("layout", [lambda image: image, interleaved, lambda image: interleaved(image).flip(-1)])
@pytest.mark.parametrize("seed", range(12))
def test_colour_jitter_gives_the_values_of_torchvision(layout, seed):
    sample = make_sample(height=61, width=83)
    sample = dataclasses.replace(sample, image=layout(sample.image))
    generator, expected = seeded(seed), sample.image
    adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    for index in torch.randperm(3, generator=generator).tolist():
        expected = adjust[index](expected, 0.6 + 0.8 * torch.rand((), generator=generator).item())
    given = sample.image.clone()
    assert torch.equal(ColorJitter()(sample, seeded(seed)).image, expected)
    assert torch.equal(sample.image, given)


@pytest.mark.parametrize("extreme", [0, 255])
def test_colour_jitter_of_extreme_pixels(extreme):
    sample = make_sample()
    image = torch.where(sample.image > 127, extreme, sample.image)
    for seed in range(6):
        generator, expected = seeded(seed), image
        adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
        for index in torch.randperm(3, generator=generator).tolist():
            expected = adjust[index](expected, 0.1 + 1.8 * torch.rand((), generator=generator).item())
        jittered = ColorJitter(0.9, 0.9, 0.9)(dataclasses.replace(sample, image=image), seeded(seed))
        assert torch.equal(jittered.image, expected)


def test_resize_gives_the_same_values_for_every_layout():
    image = make_sample(height=97, width=131).image
    expected = F.resize(image, [64, 86], antialias=True)
    for given in (
        image,
        interleaved(image),
        interleaved(torch.nn.functional.pad(image, (5, 9, 3, 4)))[:, 3:100, 5:136],
    ):
        assert torch.equal(given, image)
        resized = Resize([64])(dataclasses.replace(make_sample(), image=given)).image
        assert torch.equal(resized, expected)


def test_train_recipe_gives_one_of_the_short_sides():
    transform = train_transform(short_sides=(48, 64), max_size=100, crop_short_sides=(50, 70), crop_sides=(30, 60))
    sides = {min(transform(make_sample(), seeded(seed)).image.shape[-2:]) for seed in range(40)}
    assert sides <= {48, 64} | set(range(30, 64))
    assert {48, 64} <= sides


def test_transforms_depend_on_the_generator_only():
    transform = train_transform(short_sides=(48, 64), crop_short_sides=(50,), crop_sides=(30, 60))
    first = transform(make_sample(), seeded(3))
    torch.manual_seed(99)
    second = transform(make_sample(), seeded(3))
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.annotation.boxes_xyxy, second.annotation.boxes_xyxy)


def test_images_stay_uint8_and_the_given_sample_is_not_changed():
    sample = make_sample()
    image, boxes = sample.image.clone(), sample.annotation.boxes_xyxy.clone()
    assert train_transform()(sample, seeded(1)).image.dtype == torch.uint8
    assert torch.equal(sample.image, image)
    assert torch.equal(sample.annotation.boxes_xyxy, boxes)


def test_evaluation_leaves_the_annotation_in_original_pixels():
    sample = make_sample(boxes=[(-3, 0, 200, 90)], relations=[])
    out = eval_transform(short_side=30)(sample)
    assert out.image.shape == (3, 30, 40)
    assert out.annotation is sample.annotation


def test_images_without_boxes_pass():
    out = train_transform()(make_sample(boxes=[], relations=[]), seeded(0))
    assert out.annotation.boxes_xyxy.shape == (0, 4)
    assert out.annotation.relations.shape == (0, 3)


def test_compose_of_nothing_is_the_identity():
    sample = make_sample()
    assert Compose([])(sample) is sample
