import dataclasses
import time

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from rlipv2.datamodules.label_sampling import FixedLabels, LabelSampler, NameSampler, merge_label_spaces
from rlipv2.datasets.scene_graphs import NameCounts
from rlipv2.structures import Annotation, LabelSpace, Sample


def corpus(objects=1000, relations=500, *, power=1.0):
    def counts(size):
        return np.maximum(1e6 / np.arange(1, size + 1) ** power, 1).astype(np.int64)

    return NameCounts(
        tuple(f"object {row}" for row in range(objects)),
        counts(objects),
        tuple(f"relation {row}" for row in range(relations)),
        counts(relations),
    )


def space(objects, relations):
    return LabelSpace(tuple(objects), tuple(relations))


def sample(label_space, draw=0):
    annotation = Annotation(0, "a.jpg", torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3).long())
    return Sample(torch.zeros(3, 4, 4, dtype=torch.uint8), annotation, label_space, (4, 4), draw)


def test_union_is_in_order_of_first_appearance():
    merged = merge_label_spaces([space("ba", "x"), space("cab", "zx")])
    assert merged == space("bac", "xz")


def test_quotas_are_two_thirds_and_the_rest():
    extended = LabelSampler(corpus()).extend(space(["new", "object 3"], ["relation 7"]), np.random.default_rng(0))
    assert len(extended.objects) == 333
    assert len(extended.relations) == 167
    assert extended.objects[:2] == ("new", "object 3")
    assert extended.relations[0] == "relation 7"
    assert extended.texts[333] == "no objects"
    assert len(extended.texts) == 501


def test_longer_lists_are_kept_whole():
    shown = space([f"shown {row}" for row in range(7)], ["on"])
    extended = LabelSampler(corpus(), total=9).extend(shown, np.random.default_rng(0))
    assert extended.objects == shown.objects
    assert len(extended.relations) == 3


def test_nothing_is_drawn_for_a_total_of_zero():
    shown = space(["man"], ["on"])
    assert LabelSampler(corpus(), total=0).extend(shown, np.random.default_rng(0)) == shown


def test_small_corpora_give_all_they_have():
    names = corpus(5, 4)
    extended = LabelSampler(names).extend(space(["object 2", "new"], []), np.random.default_rng(0))
    assert set(extended.objects) == {*names.objects, "new"}
    assert set(extended.relations) == set(names.relations)


def test_the_background_text_is_never_drawn():
    names = dataclasses.replace(corpus(3, 3), objects=("a", "no objects", "b"))
    assert LabelSampler(names).extend(space([], []), np.random.default_rng(0)).objects[:2] in {("a", "b"), ("b", "a")}


@pytest.mark.parametrize("strategy", ["freq", "random"])
def test_single_draws_follow_the_strategy(strategy):
    counts = np.array([700, 200, 60, 30, 10])
    sampler = NameSampler("abcde", counts, strategy)
    generator = np.random.default_rng(5)
    drawn = [sampler.extend((), 1, generator)[0] for _ in range(10_000)]
    found = np.array([drawn.count(name) for name in "abcde"])
    expected = counts / counts.sum() if strategy == "freq" else np.full(5, 0.2)
    assert chisquare(found, expected * 10_000).pvalue > 0.001


def test_names_that_are_present_change_nothing_about_the_others():
    sampler = NameSampler("abcde", np.array([700, 200, 60, 30, 10]), "freq")
    generator = np.random.default_rng(6)
    drawn = [sampler.extend(("a", "d"), 3, generator)[2] for _ in range(10_000)]
    found = np.array([drawn.count(name) for name in "bce"])
    assert chisquare(found, np.array([200, 60, 10]) / 270 * 10_000).pvalue > 0.001


def one_after_the_other(weights, size, generator):
    """The official loop: draw, and draw again while the name is there already."""
    cumulative, drawn = np.cumsum(weights) / np.sum(weights), []
    while len(drawn) < size:
        row = int(np.searchsorted(cumulative, generator.random()))
        if row not in drawn:
            drawn.append(row)
    return drawn


@pytest.mark.parametrize("rounds", [0, 8])  # without rejection, and with it
def test_several_draws_follow_the_official_loop(monkeypatch, rounds):
    monkeypatch.setattr("rlipv2.datamodules.label_sampling.ROUNDS", rounds)
    weights, trials = np.array([50, 20, 20, 6, 3, 1]), 10_000
    sampler, generator = NameSampler("abcdef", weights, "freq"), np.random.default_rng(7)
    counts = np.zeros((2, 3, 6))
    for _ in range(trials):
        rows = ["abcdef".index(name) for name in sampler.extend((), 3, generator)]
        assert len(set(rows)) == 3
        for kind, drawn in enumerate((rows, one_after_the_other(weights, 3, generator))):
            counts[kind, np.arange(3), drawn] += 1
    for found, expected in zip(*counts, strict=True):  # first, second and third draw
        assert ((found - expected) ** 2 / np.maximum(found + expected, 1)).sum() < 20.5  # 0.1 % of chi-square, 5


def test_names_of_a_long_tailed_corpus_are_drawn_by_their_counts():
    sampler = LabelSampler(corpus(), total=3).objects
    generator = np.random.default_rng(8)
    rows = [sampler.rows[sampler.extend((), 1, generator)[0]] for _ in range(10_000)]
    expected = 10_000 * sampler.weights / sampler.weights.sum()
    bins = np.minimum((np.cumsum(expected) / 100).astype(int), 99)  # at least five expected draws in each
    found, wanted = np.bincount(bins[rows], minlength=100), np.bincount(bins, expected, minlength=100)
    assert (
        chisquare(found[wanted > 5], wanted[wanted > 5] * found[wanted > 5].sum() / wanted[wanted > 5].sum()).pvalue
        > 0.001
    )


def test_draws_of_a_batch_come_again_and_depend_on_its_images():
    sampler, shown = LabelSampler(corpus()), space(["man"], ["on"])
    first = sampler([sample(shown, draw) for draw in (3, 2**63 + 5)])
    assert sampler([sample(shown, draw) for draw in (3, 2**63 + 5)]) == first
    assert sampler([sample(shown, draw) for draw in (3, 4)]) != first


def test_strategies_of_objects_and_relations_may_differ():
    sampler = LabelSampler(corpus(), strategy="random+freq")
    assert len(set(sampler.objects.weights)) == 1
    assert len(set(sampler.relations.weights)) > 100


@pytest.mark.parametrize("options", [{"strategy": "often"}, {"strategy": "freq+random+freq"}, {"total": -1}])
def test_unknown_options_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        LabelSampler(corpus(), **options)


def test_a_batch_of_a_large_corpus_takes_less_than_two_milliseconds():
    sampler = LabelSampler(corpus(100_298, 36_515, power=1.15))
    shown = space(sampler.objects.names[:60], sampler.relations.names[:30])
    times = []
    for seed in range(50):
        generator, started = np.random.default_rng(seed), time.perf_counter()
        sampler.extend(shown, generator)
        times.append(time.perf_counter() - started)
    assert min(times) < 2e-3  # the best of many: other processes may run beside the test


def test_fixed_labels_stand_first_in_every_batch():
    fixed = space(["man", "dog"], ["on", "by"])
    labels = FixedLabels(fixed)
    assert labels([sample(space(["dog"], ["on"]))]) is fixed
    extended = labels([sample(space(["kite"], ["near"])), sample(space(["man", "tree"], ["on"]))])
    assert extended == space(["man", "dog", "kite", "tree"], ["on", "by", "near"])
