"""What is planned: the table of interactions and how it is dealt to images."""

import hashlib
from collections import Counter

import pytest

from rlipv2.microworld.actions import ACTIONS
from rlipv2.microworld.deck import apportion, deal
from rlipv2.microworld.glyphs import GLYPHS
from rlipv2.microworld.relations import COMPANIONS, NO_INTERACTION, OBJECTS, TRAIN_WEIGHTS
from rlipv2.vocabularies import load

VOCABULARY = load("hico")


def hoi_row(verb: str, name: str) -> int:
    return VOCABULARY.hoi_ids[VOCABULARY.verbs.index(verb), VOCABULARY.label_space.objects.index(name)]


@pytest.mark.parametrize("interaction", TRAIN_WEIGHTS, ids=lambda i: f"{i.verb}-{i.object}")
def test_every_interaction_exists_in_hico_det(interaction):
    assert hoi_row(interaction.verb, interaction.object) >= 0


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_can_be_left_alone(name):
    assert hoi_row(NO_INTERACTION, name) >= 0


def test_every_verb_and_object_is_drawn_by_some_function():
    assert {interaction.verb for interaction in TRAIN_WEIGHTS} == ACTIONS.keys()
    assert {interaction.object for interaction in TRAIN_WEIGHTS} == set(OBJECTS) == GLYPHS.keys()
    assert {*COMPANIONS, *(companion for companion, _ in COMPANIONS.values())} <= TRAIN_WEIGHTS.keys()


def test_verbs_and_objects_of_the_tail_also_occur_in_the_rest():
    rest = [interaction for interaction, weight in TRAIN_WEIGHTS.items() if weight >= 10]
    assert {interaction.verb for interaction in rest} == ACTIONS.keys()
    assert {interaction.object for interaction in rest} == set(OBJECTS)


@pytest.mark.parametrize("total", [1, 7, 100, 139, 140, 1000, 3457])
def test_apportioned_counts_add_up(total):
    counts = apportion(TRAIN_WEIGHTS, total)
    assert sum(counts.values()) == total
    assert min(counts.values()) >= (1 if total >= 4 * len(TRAIN_WEIGHTS) else 0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_default_training_split_has_a_long_tail(seed):
    counts = Counter(card for cards in deal(seed, "train", 2000) for card in cards)
    assert counts.keys() == TRAIN_WEIGHTS.keys()
    assert sum(count < 10 for count in counts.values()) == 10
    assert max(counts.values()) > 250


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_default_test_split_shows_every_interaction_several_times(seed):
    counts = Counter(card for cards in deal(seed, "test", 300) for card in cards)
    assert counts.keys() == TRAIN_WEIGHTS.keys()
    assert min(counts.values()) >= 5


def test_deal_is_the_same_on_every_platform():
    digest = hashlib.sha256(repr(deal(0, "train", 2000)).encode()).hexdigest()
    assert digest.startswith("d15ca9bfc3907b9a")


def test_deal_depends_on_seed_and_split():
    assert deal(0, "train", 50) != deal(1, "train", 50)
    assert deal(0, "train", 50) != deal(0, "test", 50)
