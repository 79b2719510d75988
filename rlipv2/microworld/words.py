"""How annotators of Visual Genome would name what is in the micro-world: freely, and not always the same way."""

from collections.abc import Mapping
from random import Random

Choices = Mapping[str, float]

OBJECT_WORDS: dict[str, Choices] = {
    "person": {"man": 8, "woman": 6, "person": 4, "guy": 2, "boy": 1, "girl": 1},
    "bicycle": {"bike": 3, "bicycle": 3},
    "horse": {"horse": 8, "brown horse": 1, "pony": 1},
    "dog": {"dog": 8, "puppy": 2},
    "chair": {"chair": 8, "wooden chair": 1, "seat": 1},
    "umbrella": {"umbrella": 9, "parasol": 1},
    "kite": {"kite": 9, "kites": 1},
    "sports ball": {"ball": 6, "soccer ball": 3, "sports ball": 1},
    "bottle": {"bottle": 7, "water bottle": 2, "bottle of water": 1},
    "boat": {"boat": 8, "sailboat": 1, "small boat": 1},
    "bench": {"bench": 8, "wooden bench": 1, "park bench": 1},
    "backpack": {"backpack": 7, "bag": 2, "back pack": 1},
}
"""Names of each category with their weights."""

RELATION_WORDS: dict[str, Choices] = {
    "ride": {"riding": 7, "on": 3, "riding on": 2, "rides": 1, "riding a": 1},
    "sit_on": {"sitting on": 7, "on": 3, "sits on": 1, "seated on": 1, "sitting in": 1},
    "stand_on": {"standing on": 7, "on": 2, "on top of": 2, "stands on": 1},
    "jump": {"jumping over": 7, "above": 1, "jumping": 1},
    "hold": {"holding": 8, "with": 1, "has": 1, "holding a": 1, "holds": 1},
    "carry": {"carrying": 5, "wearing": 3, "has": 1, "with": 1, "carries": 1},
    "push": {"pushing": 7, "pushes": 1, "walking": 1},
    "fly": {"flying": 7, "flying a": 2, "flies": 1},
    "pull": {"pulling": 7, "pulls": 1},
    "walk": {"walking": 7, "leading": 2, "walking with": 1},
    "chase": {"chasing": 7, "running after": 2, "chases": 1},
    "inspect": {"looking at": 7, "watching": 2, "looks at": 1},
    "kick": {"kicking": 7, "kicks": 1, "playing with": 1},
    "next to": {"next to": 6, "near": 3, "beside": 2, "by": 1},
    "behind": {"behind": 8, "in back of": 1},
    "in front of": {"in front of": 9, "before": 1},
    "under": {"under": 6, "below": 2, "beneath": 1},
}
"""Names of each verb and of each spatial relation with their weights."""


def choose(words: Choices, rng: Random) -> str:
    """One of the words, by weight."""
    return rng.choices(list(words), list(words.values()))[0]
