"""Counts of a written micro-world: the long tail of its interactions and the numbers per image."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from rlipv2.microworld.baselines import read_annotations, relation_counts
from rlipv2.microworld.splits import RARE_BELOW
from rlipv2.ops.files import write_atomically
from rlipv2.structures import Annotation
from rlipv2.vocabularies import load


@dataclass(frozen=True)
class Count:
    """One interaction with its official id (1 to 600) and its instances per split."""

    id: int
    verb: str
    object: str
    train: int
    test: int


def count_interactions(root: str | Path) -> list[Count]:
    """All interactions that occur, most frequent in training first."""
    vocabulary = load("hico")
    train, test = (relation_counts(read_annotations(root, split), vocabulary) for split in ("train", "test"))
    counts = [
        Count(
            hoi + 1,
            vocabulary.verbs[verb],
            vocabulary.label_space.objects[name],
            int(train[verb, name]),
            int(test[verb, name]),
        )
        for hoi, (verb, name) in enumerate(vocabulary.hois)
    ]
    return sorted((c for c in counts if c.train or c.test), key=lambda c: (-c.train, c.id))


def per_image(annotations: Sequence[Annotation]) -> dict[str, tuple[float, int, int]]:
    """Mean, smallest and largest number of persons, objects and labelled relations of an image."""
    person = load("hico").PERSON
    numbers = {
        "persons": [int((a.labels == person).sum()) for a in annotations],
        "objects": [int((a.labels != person).sum()) for a in annotations],
        "labelled relations": [len(a.relations) for a in annotations],
    }
    return {name: (float(np.mean(values)), min(values), max(values)) for name, values in numbers.items()}


def report(root: str | Path) -> str:
    """Both tables as text."""
    lines = [f"{'id':>3}  {'interaction':<28}{'train':>7}{'test':>6}"]
    for c in count_interactions(root):
        rare = "  rare" if c.train < RARE_BELOW else ""
        lines.append(f"{c.id:>3}  {c.verb + ' ' + c.object:<28}{c.train:>7}{c.test:>6}{rare}")
    for split in ("train", "test"):
        annotations = read_annotations(root, split)
        lines += ["", f"{split}: {len(annotations)} images, per image (mean, smallest, largest):"]
        lines += [f"  {name:<20}{m:6.2f}{a:4d}{b:4d}" for name, (m, a, b) in per_image(annotations).items()]
    return "\n".join(lines)


def counts_table(content: Mapping[str, Any]) -> str:
    """The counts in a settings file as text: one line per split."""
    settings, splits = content["settings"], [split for split in ("train", "val", "test") if split in content]
    kinds = list(content["train"])
    lines = [f"{settings['layout']}, seed {settings['seed']}", f"{'':<6}" + "".join(f"{kind:>16}" for kind in kinds)]
    lines += [f"{split:<6}" + "".join(f"{content[split][kind]:>16,}" for kind in kinds) for split in splits]
    return "\n".join(lines)


def plot_long_tail(counts: Sequence[Count], path: str | Path) -> Path:
    """Writes a bar chart of the counts on a logarithmic axis, training split with the test split as dots."""
    figure, axes = plt.subplots(figsize=(11, 5), layout="constrained")
    x = np.arange(len(counts))
    colours = [
        "#d55e00" if c.train < RARE_BELOW else "#999999" if c.verb == "no_interaction" else "#0072b2" for c in counts
    ]
    axes.bar(x, [c.train for c in counts], color=colours)
    axes.plot(x, [c.test for c in counts], "k.", label="test split")
    axes.axhline(RARE_BELOW, color="#d55e00", linewidth=0.8, linestyle="--")
    axes.set_yscale("log")
    axes.set_xticks(
        x, [f"{c.verb.replace('_', ' ')} {c.object}" for c in counts], rotation=60, ha="right", fontsize=7.5
    )
    axes.set_ylabel("labelled instances")
    axes.set_title("Micro-world: training split (bars; orange: rare, grey: no interaction) and test split (dots)")
    axes.margins(x=0.01)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    plt.close(figure)
    path = Path(path)
    write_atomically(path, content.getvalue())
    return path
