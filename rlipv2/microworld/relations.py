"""What can happen in the micro-world: its categories and its interactions, all of them valid in HICO-DET.

HICO-DET allows only 600 (verb, object) combinations, so some of the wishes of a designer had to give way:

* "look at" is no verb of HICO-DET, and "watch" exists for no object of this world: `inspect` is drawn instead
  (hand at the brow, dotted gaze line that meets the object).
* "push" exists for the bicycle only, "pull" and "fly" for the kite only, "chase" for the dog only and "kick" for
  the ball only. Such verbs are kept frequent, so that every verb is learned from somewhere.
* "stand on" does not exist for the bench, "sit on" not for the backpack, "hold" is left out for the horse because
  HICO-DET uses it for the reins, which looks like `walk` here.
* `carry` means on the back (backpack) or on the shoulders, `hold` in the hand.
* Persons have no relations with each other here; HICO-DET has such combinations, this part of the world has not.
"""

from dataclasses import dataclass

PERSON = "person"
NO_INTERACTION = "no_interaction"

OBJECTS = (
    "bicycle",
    "horse",
    "dog",
    "chair",
    "umbrella",
    "kite",
    "sports ball",
    "bottle",
    "boat",
    "bench",
    "backpack",
)
"""Object categories besides the person, by their COCO names; each of them also has `no_interaction`."""


@dataclass(frozen=True, order=True)
class Interaction:
    """A verb in the spelling of HICO-DET annotation files, with the object it is done to."""

    verb: str
    object: str


TRAIN_WEIGHTS: dict[Interaction, float] = {
    Interaction(verb, name): weight
    for verb, name, weight in (
        # The head: what the quickstart model learns first.
        ("ride", "bicycle", 330),
        ("hold", "umbrella", 310),
        ("sit_on", "chair", 300),
        ("ride", "horse", 280),
        ("kick", "sports ball", 260),
        ("walk", "dog", 250),
        ("carry", "backpack", 240),
        ("hold", "bottle", 210),
        ("fly", "kite", 200),
        ("push", "bicycle", 180),
        ("sit_on", "bench", 160),
        ("chase", "dog", 140),
        # The body: every verb and every object of the tail is seen here or above.
        ("stand_on", "chair", 110),
        ("jump", "horse", 100),
        ("inspect", "dog", 90),
        ("hold", "sports ball", 85),
        ("walk", "horse", 75),
        ("inspect", "bicycle", 65),
        ("stand_on", "boat", 60),
        ("hold", "kite", 50),
        ("inspect", "bottle", 45),
        ("pull", "kite", 40),
        ("carry", "chair", 35),
        ("sit_on", "boat", 30),
        ("inspect", "backpack", 20),
        # The tail: fewer than 10 training instances at the default size, hence "rare" for the HICO-DET metric.
        ("inspect", "boat", 8),
        ("hold", "backpack", 8),
        ("jump", "bicycle", 7),
        ("carry", "bicycle", 7),
        ("hold", "chair", 6),
        ("inspect", "sports ball", 6),
        ("carry", "dog", 5),
        ("hold", "bicycle", 5),
        ("jump", "boat", 4),
        ("inspect", "bench", 4),
    )
}
"""How often each interaction is planned, about in instances per 2,000 training images.

`no_interaction` is not planned: it is given to every near pair that has no relation.
"""

TEST_EXPONENT = 0.3
"""The test split is drawn with weight ** 0.3: flat enough that the AP of a rare interaction is not pure noise."""

# Interactions that show a second one as well, with the probability that they do.
COMPANIONS = {
    Interaction("inspect", "bottle"): (Interaction("hold", "bottle"), 0.4),
    Interaction("inspect", "sports ball"): (Interaction("hold", "sports ball"), 0.4),
}
