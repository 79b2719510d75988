import numpy as np
import pytest
import torch

from rlipv2.metrics import TaggingAccuracy
from rlipv2.metrics.tagging.protocol import average_precision, evaluate, separation
from rlipv2.structures import PairPredictions, RelationTarget

# two related pairs (the first with two relations) and two unrelated ones
SCORES = np.array([[0.9, 0.1, 0.2], [0.6, 0.5, 0.1], [0.3, 0.2, 0.1], [0.7, 0.0, 0.1]])
LABELS = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 0]], bool)


def image(scores, labels):
    scores, labels = torch.tensor(np.array(scores)).float(), torch.tensor(np.array(labels)).float()
    boxes, classes = torch.zeros(len(scores), 4), torch.zeros(len(scores), dtype=torch.int64)
    return PairPredictions(boxes, boxes, classes, classes, scores), RelationTarget(
        boxes, boxes, classes, classes, labels
    )


def update(metric, *images, indices=None):
    predictions, targets = zip(*images, strict=True)
    metric.update(predictions, targets, torch.tensor(indices or range(len(images))))
    return metric


def test_figures_worked_out_by_hand():
    result = evaluate(SCORES, LABELS)
    assert result.accuracy == 0.5  # the first pair is right, the second is called relation 0
    assert result.accuracy_chance == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert result.accuracy_majority == 0.5
    # relation 0: first of four; relation 1: first; relation 2: first
    np.testing.assert_allclose(result.average_precisions, [1, 1, 1])
    assert result.map_chance == 0.25
    assert result.auc == 0.75  # 0.9 above both, 0.6 above 0.3 only
    assert (result.num_related, result.num_unrelated) == (2, 2)


def test_average_precision_is_the_mean_precision_at_hits():
    assert average_precision(np.array([0.9, 0.8, 0.7, 0.6]), np.array([0, 1, 0, 1], bool)) == pytest.approx(0.5)
    assert np.isnan(average_precision(np.array([0.9]), np.array([False])))


def test_equal_scores_count_together_whatever_their_order():
    scores = np.array([0.5, 0.5, 0.5, 0.1])
    for positive in ([1, 0, 0, 0], [0, 0, 1, 0]):
        assert average_precision(scores, np.array(positive, bool)) == pytest.approx(1 / 3)
    assert separation(np.array([0.5]), np.array([0.5, 0.4])) == 0.75


def test_separation_equals_all_comparisons():
    generator = np.random.default_rng(0)
    above, below = generator.integers(0, 9, 40).astype(float), generator.integers(-3, 7, 30).astype(float)
    expected = np.mean([(a > b) + 0.5 * (a == b) for a in above for b in below])
    assert separation(above, below) == pytest.approx(expected)


def test_random_scores_reach_the_levels_of_chance():
    generator = np.random.default_rng(1)
    labels = np.zeros((6000, 5), bool)
    labels[np.arange(3000), generator.integers(0, 5, 3000)] = True
    result = evaluate(generator.random((6000, 5)), labels)
    assert result.accuracy == pytest.approx(result.accuracy_chance, abs=0.03)
    assert result.map == pytest.approx(result.map_chance, abs=0.02)
    assert result.auc == pytest.approx(0.5, abs=0.03)


def test_metric_equals_the_functions_over_batches():
    metric = TaggingAccuracy(num_relations=3)
    update(metric, image(SCORES[:1], LABELS[:1]))
    update(metric, image(SCORES[1:], LABELS[1:]), image(np.zeros((0, 3)), np.zeros((0, 3))), indices=[1, 2])
    values, expected = metric.compute(), evaluate(SCORES.astype(np.float32), LABELS)
    assert values["tagging_accuracy"] == expected.accuracy
    assert values["tagging_map"] == pytest.approx(expected.map)
    assert values["tagging_auc"] == expected.auc
    assert values["tagging_related_pairs"] == 2
    assert set(values) == {
        f"tagging_{name}"
        for name in (
            *("accuracy", "accuracy_chance", "accuracy_majority", "map", "map_chance", "auc"),
            *("related_pairs", "unrelated_pairs"),
        )
    }


def test_images_that_a_sampler_repeats_count_once():
    once = update(TaggingAccuracy(num_relations=3), image(SCORES, LABELS), image(SCORES[:2], LABELS[:2]))
    repeated = update(TaggingAccuracy(num_relations=3), image(SCORES, LABELS), image(SCORES[:2], LABELS[:2]))
    update(repeated, image(SCORES[:2], LABELS[:2]), image(SCORES, LABELS), indices=[1, 0])
    assert once.compute() == repeated.compute()


def test_relations_beyond_the_fixed_ones_neither_count_nor_make_a_pair_unrelated():
    labels = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 0]], bool)
    metric = update(TaggingAccuracy(num_relations=2), image(SCORES[:3], labels))
    values = metric.compute()
    assert values["tagging_related_pairs"] == 1
    assert values["tagging_unrelated_pairs"] == 1
    assert values["tagging_accuracy"] == 1


def test_without_pairs_figures_are_nan():
    values = TaggingAccuracy(num_relations=3).compute()
    assert values["tagging_accuracy"].isnan()
    assert values["tagging_auc"].isnan()
    assert values["tagging_related_pairs"] == 0


def test_reset_forgets_all_images():
    metric = update(TaggingAccuracy(num_relations=3), image(SCORES, LABELS))
    metric.reset()
    assert metric.compute()["tagging_related_pairs"] == 0


def test_gathered_states_give_the_figures_of_one_process():
    parts = [image(SCORES[:2], LABELS[:2]), image(SCORES[2:], LABELS[2:])]
    ranks = [update(TaggingAccuracy(num_relations=3), part, indices=[index]) for index, part in enumerate(parts)]
    joined = TaggingAccuracy(num_relations=3)
    for name in ("scores", "labels", "places"):
        setattr(joined, name, torch.cat([row for rank in ranks for row in getattr(rank, name)]))
    whole = update(TaggingAccuracy(num_relations=3), *parts)
    assert joined.result().map == whole.result().map
    assert joined.result().num_related == 2


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (SCORES[:, :2], LABELS[:, :2], "at least the 3 relations"),
        (SCORES[:2], LABELS, "a row for each given pair"),
        (SCORES * np.nan, LABELS, "image 4: relation scores are not finite"),
    ],
)
def test_what_does_not_fit_is_refused(scores, labels, message):
    prediction, _ = image(scores, np.zeros((len(scores), 3)))
    _, target = image(np.zeros((len(labels), 3)), labels)
    with pytest.raises(ValueError, match=message):
        TaggingAccuracy(num_relations=3).update([prediction], [target], torch.tensor([4]))


def test_lists_of_different_length_are_refused():
    prediction, target = image(SCORES, LABELS)
    with pytest.raises(ValueError, match="1 predictions, 2 targets and 1 indices"):
        TaggingAccuracy(num_relations=3).update([prediction], [target, target], torch.tensor([0]))


def test_a_metric_without_relations_is_refused():
    with pytest.raises(ValueError, match="num_relations=0"):
        TaggingAccuracy(num_relations=0)
