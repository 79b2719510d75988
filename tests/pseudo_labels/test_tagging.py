from collections import Counter

import numpy as np
import pytest
import torch

from rlipv2.models.text_features import TextFeatureCache
from rlipv2.pseudo_labels import tagging
from rlipv2.pseudo_labels.passes import Question, TaggingInput, kept_relations
from rlipv2.pseudo_labels.records import Group, Tags
from rlipv2.pseudo_labels.tagging import TagFailure, tag_images
from rlipv2.structures import LabelSpace
from tests.models import tiny

NAMES = ("person", "dog", "kite")
WORDS = ("riding", "on", "near", "holding", "looking at", "under")


@pytest.fixture(scope="module")
def tagger():
    torch.manual_seed(0)
    model = tiny.tagger().eval()
    with torch.no_grad():  # untrained texts are nearly alike, and their scores too
        model.text_encoder.model.embeddings.word_embeddings.weight.mul_(30)
        model.head.projection.weight.mul_(8)
    return model


def group(pairs, texts):
    return Group(np.array(pairs, np.int64).reshape(-1, 2), tuple(texts))


def picture(seed, *, size=(64, 96), groups=3, boxes=4):
    """An image with `groups` groups of 1 to 5 pairs and 1 to 3 texts."""
    random = np.random.default_rng(seed)
    asked = []
    for _ in range(groups):
        pairs = [random.permutation(boxes)[:2] for _ in range(random.integers(1, 6))]
        asked.append(group(pairs, random.permutation(WORDS)[: random.integers(1, 4)]))
    return TaggingInput(
        image=torch.from_numpy(random.integers(0, 256, (3, *size), np.uint8)),
        boxes_cxcywh=torch.from_numpy(random.uniform(0.2, 0.6, (boxes, 4)).astype(np.float32)),
        labels=torch.from_numpy(random.integers(0, 3, boxes)),
        groups=asked,
    )


def assert_same(first, second, tolerance=1e-4):
    assert np.array_equal(first.pairs, second.pairs)
    assert first.texts == second.texts
    assert first.scores.dtype == second.scores.dtype == np.float32
    np.testing.assert_allclose(first.scores, second.scores, rtol=0, atol=tolerance)


def several():
    sizes = [(64, 96), (96, 64), (64, 96), (64, 96), (80, 80)]
    return [picture(seed, size=size, groups=1 + seed % 4) for seed, size in enumerate(sizes)]


@pytest.mark.parametrize("groups_per_pass", [1, 2, 16])
@pytest.mark.parametrize("images_per_pass", [1, 8])
def test_fast_gives_the_scores_of_the_official_procedure(tagger, groups_per_pass, images_per_pass):
    options = {"store_threshold": 0.0, "groups_per_pass": groups_per_pass}
    official = tag_images(tagger, several(), NAMES, mode="parity", **options)
    fast = tag_images(tagger, several(), NAMES, mode="fast", images_per_pass=images_per_pass, **options)
    assert sum(map(len, official)) > 50
    assert np.concatenate([tags.scores for tags in official]).std() > 0.01
    for first, second in zip(official, fast, strict=True):
        assert_same(first, second)


def test_parity_asks_as_the_detector_is_asked_in_evaluation(tagger):
    image = picture(1, groups=2)
    (tags,) = tag_images(tagger, [image], NAMES, mode="parity", store_threshold=0.0)
    texts = tuple(dict.fromkeys(text for one in image.groups for text in one.texts))
    rows = []
    for one in image.groups:
        target = tagging_target(image, one)
        mask = torch.zeros(1, 64, 96, dtype=torch.bool)
        (scores,) = tagger.tag(image.image[None], mask, LabelSpace(NAMES, texts), [target])
        rows.append(scores.numpy())
    expected = np.concatenate(rows)
    np.testing.assert_allclose(tags.scores.reshape(expected.shape), expected, rtol=0, atol=1e-6)
    assert np.array_equal(tags.pairs[:: len(texts)], np.concatenate([one.pairs for one in image.groups]))
    assert tags.texts == texts * len(expected)


def tagging_target(image, one):
    subjects, objects = torch.from_numpy(one.pairs.T)
    return tiny.RelationTarget(
        subject_boxes=image.boxes_cxcywh[subjects],
        object_boxes=image.boxes_cxcywh[objects],
        subject_labels=image.labels[subjects],
        object_labels=image.labels[objects],
        relations=torch.zeros(len(subjects), 0),
    )


@pytest.mark.parametrize("mode", ["parity", "fast"])
def test_a_score_must_exceed_the_threshold(tagger, mode):
    (every,) = tag_images(tagger, [picture(2)], NAMES, mode=mode, store_threshold=0.0)
    threshold = float(np.median(every.scores))
    assert (every.scores == np.float32(threshold)).any() or len(every) % 2 == 0
    (some,) = tag_images(tagger, [picture(2)], NAMES, mode=mode, store_threshold=float(every.scores.max()))
    assert len(some) == 0
    (some,) = tag_images(tagger, [picture(2)], NAMES, mode=mode, store_threshold=threshold)
    kept = every.scores > np.float32(threshold)
    assert some.texts == tuple(np.array(every.texts)[kept])
    assert np.array_equal(some.pairs, every.pairs[kept])


def test_texts_of_other_groups_of_the_chunk_count_unless_own_texts(tagger):
    image = picture(0, groups=0)
    image.groups.extend([group([[0, 1]], ["riding"]), group([[1, 2], [1, 2]], ["on"])])
    for mode in ("parity", "fast"):
        (tags,) = tag_images(tagger, [image], NAMES, mode=mode, store_threshold=0.0)
        assert tags.texts == ("riding", "on") * 3  # and a pair that is asked about twice is answered twice
        (tags,) = tag_images(tagger, [image], NAMES, mode=mode, store_threshold=0.0, own_texts=True)
        assert tags.texts == ("riding", "on", "on")
        (tags,) = tag_images(tagger, [image], NAMES, mode=mode, store_threshold=0.0, groups_per_pass=1)
        assert tags.texts == ("riding", "on", "on")


def count_calls(monkeypatch, module, name="forward"):
    calls = []
    original = getattr(module, name)

    def counted(*arguments, **options):
        calls.append(len(arguments[0]))
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, counted)
    return calls


def test_an_image_is_encoded_once_per_chunk_and_a_text_once(tagger, monkeypatch):
    images = [picture(seed, groups=4) for seed in range(3)]
    backbone = count_calls(monkeypatch, tagger.backbone)
    encoder = count_calls(monkeypatch, tagger.text_encoder, "encode")
    cache = TextFeatureCache(tagger.text_encoder)
    tag_images(tagger, images, NAMES, texts=cache)
    assert backbone == [3]
    words = {text for image in images for one in image.groups for text in one.texts}
    assert len(encoder) == len(cache) == 4 + len(words)
    tag_images(tagger, images, NAMES, texts=cache, groups_per_pass=2)
    assert backbone == [3, 6]
    assert len(encoder) == 4 + len(words)
    tag_images(tagger, images[:1], NAMES, mode="parity")
    assert backbone == [3, 6, 4]
    assert len(encoder) == 5 + len(words)


def test_images_without_candidates_are_not_encoded(tagger, monkeypatch):
    backbone = count_calls(monkeypatch, tagger.backbone)
    nothing = picture(0, groups=0, boxes=0)
    empty = TaggingInput(nothing.image, nothing.boxes_cxcywh, nothing.labels, [group([], [])])
    counts = Counter()
    tags = tag_images(tagger, [nothing, empty], NAMES, counts=counts)
    assert [len(one) for one in tags] == [0, 0]
    assert backbone == []
    assert counts["images without candidates"] == 2
    assert tag_images(tagger, [], NAMES) == []
    (official,) = tag_images(tagger, [empty], NAMES, mode="parity")  # runs, and gives nothing
    assert len(official) == 0
    assert backbone == [1]


def test_trailing_empty_groups_change_nothing(tagger):
    image = picture(3, groups=2)
    longer = TaggingInput(image.image, image.boxes_cxcywh, image.labels, [*image.groups, group([], [])])
    (expected,) = tag_images(tagger, [image], NAMES, store_threshold=0.0)
    for mode in ("parity", "fast"):
        (tags,) = tag_images(tagger, [longer], NAMES, mode=mode, store_threshold=0.0)
        assert_same(tags, expected)


@pytest.mark.parametrize("mode", ["parity", "fast"])
def test_scores_that_are_no_number_are_counted_and_not_kept(tagger, mode, monkeypatch):
    original = tagger.head.projection.forward
    monkeypatch.setattr(tagger.head.projection, "forward", lambda texts: original(texts) * float("nan"))
    counts = Counter()
    (tags,) = tag_images(tagger, [picture(0)], NAMES, mode=mode, store_threshold=0.0, counts=counts)
    image = picture(0)
    texts = {text for one in image.groups for text in one.texts}
    assert len(tags) == 0
    assert counts["scores that are no number"] == len(texts) * sum(len(one.pairs) for one in image.groups)


def test_pairs_of_boxes_that_do_not_exist(tagger):
    image = picture(4, groups=1)
    image.groups.append(group([[0, 1], [1, 4], [-1, 0]], ["on"]))
    counts = Counter()
    (kept,) = tag_images(tagger, [image], NAMES, store_threshold=0.0, counts=counts)
    assert counts["pairs out of range"] == 2
    assert kept.pairs.max() < 4
    assert kept.pairs.min() >= 0
    dropped, other = tag_images(tagger, [image, picture(1)], NAMES, mode="parity")
    assert isinstance(dropped, TagFailure)
    assert dropped.kind == "pair out of range"
    assert "2 candidate pairs such as [1, 4], but the image has 4 boxes" in dropped.message
    assert isinstance(other, Tags)
    (kept,) = tag_images(tagger, [image], NAMES, mode="parity", out_of_range="drop_pair")
    assert isinstance(kept, Tags)


@pytest.mark.parametrize("mode", ["parity", "fast"])
def test_without_enough_memory_images_then_halves_of_chunks_are_tried(tagger, mode, monkeypatch):
    images = [picture(0, groups=4), picture(1, groups=2), picture(2, groups=6)]
    expected = tag_images(tagger, images, NAMES, mode=mode, store_threshold=0.0)
    original = tagger.entity_decoder.forward

    def small(queries, *rest):
        if len(queries.content) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(queries, *rest)

    monkeypatch.setattr(tagger.entity_decoder, "forward", small)
    tags = tag_images(tagger, images, NAMES, mode=mode, store_threshold=0.0)
    assert_same(tags[0], expected[0])
    assert_same(tags[1], expected[1])
    assert isinstance(tags[2], TagFailure)
    assert tags[2].kind == "out of memory"
    assert "6 groups" in tags[2].message
    assert "64x96" in tags[2].message


def test_half_precision_of_the_encoder_changes_scores_a_little(tagger):
    (exact,) = tag_images(tagger, [picture(0)], NAMES, store_threshold=0.0)
    (half,) = tag_images(tagger, [picture(0)], NAMES, store_threshold=0.0, encode_dtype=torch.bfloat16)
    assert half.scores.dtype == np.float32
    assert 0 < np.abs(exact.scores - half.scores).max() < 0.05


def test_wrong_calls_are_refused(tagger):
    image = picture(3)
    with pytest.raises(ValueError, match="mode='exact': expected parity or fast"):
        tag_images(tagger, [image], NAMES, mode="exact")
    with pytest.raises(ValueError, match="official scores are float32"):
        tag_images(tagger, [image], NAMES, mode="parity", encode_dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=r"image 0: labels . to 2, but there are 2 class names"):
        tag_images(tagger, [image], NAMES[:2])
    with pytest.raises(ValueError, match="out_of_range='ignore'"):
        tag_images(tagger, [image], NAMES, out_of_range="ignore")
    image.groups.append(group([[0, 1]] * 6, ["on"]))
    with pytest.raises(ValueError, match="a group of 6 pairs, but this tagger takes 5 at once"):
        tag_images(tagger, [image], NAMES)
    with pytest.raises(ValueError, match="training mode"):
        tag_images(tiny.tagger(), [picture(0)], NAMES)


def test_features_do_not_depend_on_what_was_encoded_before(tagger):
    first, second = TextFeatureCache(tagger.text_encoder), TextFeatureCache(tagger.text_encoder)
    first(["a rather long text that pads others", "on"])
    assert torch.equal(first(["riding", "on", "on"]), second(["riding", "on", "on"]))
    assert len(first) == 3


def test_features_of_old_weights_are_forgotten_and_memory_is_bounded():
    encoder = tiny.tagger().eval().text_encoder
    cache = TextFeatureCache(encoder, max_texts=3)
    before = cache(["on", "near"])
    with torch.no_grad():
        encoder.model.embeddings.word_embeddings.weight.mul_(torch.linspace(1, 9, 32))
    assert not torch.allclose(cache(["on", "near"]), before, atol=1e-3)
    with torch.inference_mode():
        cache(["riding", "under"])
    assert len(cache) == 2
    cache(["on"])
    assert len(cache) == 3
    features, absent = cache.padded([["on"], ["riding", "on", "under"]])
    assert torch.equal(features[0, 0], features[1, 1])
    assert absent.tolist() == [[False, True, True], [False] * 3]
    assert cache.padded([["on"], ["near"]])[1] is None


def test_relations_found_on_the_device_are_those_of_emit():
    random = np.random.default_rng(0)
    images = [picture(seed, groups=1 + seed) for seed in range(3)]
    questions = [
        Question(place, image, tuple(image.groups), texts)
        for place, image in enumerate(images)
        for _, texts in tagging.chunks(image.groups, 16)
    ]
    shape = (3, 3, 5, max(len(question.texts) for question in questions))
    scores = random.uniform(0, 1, shape).astype(np.float32)
    scores[random.uniform(size=shape) < 0.1] = np.nan
    for own_texts in (False, True):
        counts = Counter()
        expected = [
            tagging.emit(
                question.groups,
                question.texts,
                scores[row, : len(question.groups)],
                threshold=0.4,
                own_texts=own_texts,
                counts=counts,
            )
            for row, question in enumerate(questions)
        ]
        found, invalid = kept_relations(torch.from_numpy(scores), questions, 0.4, own_texts=own_texts)
        for first, second in zip(found, expected, strict=True):
            assert_same(first, second, tolerance=0)
        assert own_texts or invalid == counts["scores that are no number"]
