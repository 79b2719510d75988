"""Which interactions are planned for which image: counts are exact, not left to chance."""

from collections.abc import Mapping
from random import Random

from rlipv2.microworld.relations import TEST_EXPONENT, TRAIN_WEIGHTS, Interaction

_CARDS_PER_IMAGE = (1, 1, 1, 1, 1, 2, 2, 2, 2, 3)


def apportion(weights: Mapping[Interaction, float | int], total: int) -> dict[Interaction, int]:
    """Splits `total` in proportion to the weights, by largest remainder, ties in order.

    Every interaction gets at least one where the total would give each of them four on average.
    """
    least = 1 if total >= 4 * len(weights) else 0
    shares = {key: weight * total / sum(weights.values()) for key, weight in weights.items()}
    counts = {key: max(least, int(share)) for key, share in shares.items()}
    by_remainder = sorted(shares, key=lambda key: int(shares[key]) - shares[key])
    for key in by_remainder[: max(0, total - sum(counts.values()))]:
        counts[key] += 1
    largest = max(counts, key=lambda key: counts[key])
    counts[largest] -= sum(counts.values()) - total
    return counts


def deal(seed: int | str, split: str, num_images: int) -> list[tuple[Interaction, ...]]:
    """One to three planned interactions for every image of a split.

    The training split follows `TRAIN_WEIGHTS`, other splits a flatter version of it, so that every interaction
    has several test instances at the default size.
    """
    rng = Random(f"{seed}/{split}/deck")
    exponent = 1.0 if split == "train" else TEST_EXPONENT
    sizes = [rng.choice(_CARDS_PER_IMAGE) for _ in range(num_images)]
    counts = apportion({key: weight**exponent for key, weight in TRAIN_WEIGHTS.items()}, sum(sizes))
    cards = [key for key, count in counts.items() for _ in range(count)]
    rng.shuffle(cards)
    return [tuple(cards.pop() for _ in range(size)) for size in sizes]
