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
    "ride": {"riding": 7, "on": 3, "riding on": 2, "rides": 1, "riding a": 1, "ride": 2},
    "sit_on": {"sitting on": 7, "on": 3, "sits on": 1, "seated on": 1, "sitting in": 1, "sit on": 2},
    "stand_on": {"standing on": 7, "on": 2, "on top of": 2, "stands on": 1, "stand on": 2},
    "jump": {"jumping over": 7, "above": 1, "jumping": 1, "jump": 2},
    "hold": {"holding": 8, "with": 1, "has": 1, "holding a": 1, "holds": 1, "hold": 2},
    "carry": {"carrying": 5, "wearing": 3, "has": 1, "with": 1, "carries": 1, "carry": 2},
    "push": {"pushing": 7, "pushes": 1, "walking": 1, "push": 2},
    "fly": {"flying": 7, "flying a": 2, "flies": 1, "fly": 2},
    "pull": {"pulling": 7, "pulls": 1, "pull": 2},
    "walk": {"walking": 7, "leading": 2, "walking with": 1, "walk": 2},
    "chase": {"chasing": 7, "running after": 2, "chases": 1, "chase": 2},
    "inspect": {"looking at": 7, "watching": 2, "looks at": 1, "inspect": 2},
    "kick": {"kicking": 7, "kicks": 1, "playing with": 1, "kick": 2},
    "next to": {"next to": 6, "near": 3, "beside": 2, "by": 1},
    "behind": {"behind": 8, "in back of": 1},
    "in front of": {"in front of": 9, "before": 1},
    "under": {"under": 6, "below": 2, "beneath": 1},
}
"""Names of each verb and of each spatial relation with their weights."""

VERB_FORMS: dict[str, tuple[str, str, str]] = {
    "riding": ("ride", "rides", "ridden"),
    "sitting": ("sit", "sits", "sat"),
    "seated": ("seat", "seats", "seated"),
    "standing": ("stand", "stands", "stood"),
    "jumping": ("jump", "jumps", "jumped"),
    "holding": ("hold", "holds", "held"),
    "having": ("have", "has", "had"),
    "carrying": ("carry", "carries", "carried"),
    "wearing": ("wear", "wears", "worn"),
    "pushing": ("push", "pushes", "pushed"),
    "walking": ("walk", "walks", "walked"),
    "flying": ("fly", "flies", "flown"),
    "pulling": ("pull", "pulls", "pulled"),
    "leading": ("lead", "leads", "led"),
    "chasing": ("chase", "chases", "chased"),
    "running": ("run", "runs", "run"),
    "looking": ("look", "looks", "looked"),
    "watching": ("watch", "watches", "watched"),
    "kicking": ("kick", "kicks", "kicked"),
    "playing": ("play", "plays", "played"),
}
"""Base form, third person and past participle of the verbs above, by their -ing form."""

SPATIAL = ("next to", "behind", "in front of", "under")
"""Those of the relations that are read off the boxes."""

_FORM_OF = {form: verb for verb, forms in VERB_FORMS.items() for form in (verb, *forms)}


def split_verb(word: str) -> tuple[str | None, str]:
    """The -ing form of the verb that a name begins with and the rest: "rides on" -> ("riding", "on").

    None where it begins with no verb; an article at the end goes ("holding a").
    """
    word = word.removesuffix(" a")
    first, _, rest = word.partition(" ")
    verb = _FORM_OF.get(first)
    return (verb, rest) if verb else (None, word)


def accepted_texts(relation: str) -> list[str]:
    """All texts that name a relation, in every form of their verbs, sorted; of spatial ones also "standing ..."."""
    texts = set()
    for word in RELATION_WORDS[relation]:
        verb, rest = split_verb(word)
        if verb is None:
            texts.add(word)
            verb = "standing" if relation in SPATIAL else None
        if verb is not None:
            texts |= {f"{form} {rest}".strip() for form in (verb, *VERB_FORMS[verb])}
    return sorted(texts)


def choose(words: Choices, rng: Random) -> str:
    """One of the words, by weight."""
    return rng.choices(list(words), list(words.values()))[0]
