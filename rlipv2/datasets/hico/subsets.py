"""What the low-data settings leave of the HICO-DET training records: few-shot, zero-shot, noisy relations."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import read_json, write_json
from rlipv2.datasets.records import relation_images
from rlipv2.structures import RelationRecords
from rlipv2.vocabularies import HICOVocabulary

logger = logging.getLogger(__name__)

SUBSET_FORMAT = "rlipv2-subset/1"


def relation_hois(records: RelationRecords, vocabulary: HICOVocabulary) -> Int[np.ndarray, " h"]:
    """The interaction of each relation, -1 where HICO-DET has no such combination."""
    boxes = records.box_ptr[relation_images(records)] + records.relations[:, 1]
    return vocabulary.hoi_ids[records.relations[:, 2], records.labels[boxes]]


def drop_unseen(records: RelationRecords, vocabulary: HICOVocabulary, setting: str) -> RelationRecords:
    """The records without relations of unseen interactions; images and boxes all stay.

    Official: the training files of the zero-shot settings. GEN-VLKT instead drops whole pairs and
    images left empty, so its numbers do not compare.

    Raises:
        ValueError: a setting that the vocabulary has no list for.
    """
    if setting not in vocabulary.unseen:
        known = ", ".join(map(repr, vocabulary.unseen))
        raise ValueError(f"zero_shot={setting!r}: expected one of {known} (evaluation without fine-tuning needs none)")
    hois = relation_hois(records, vocabulary)
    return records.keep_relations((hois < 0) | ~vocabulary.unseen[setting][hois])


def add_relation_noise(
    records: RelationRecords, ratio: int | float, num_relations: int, *, seed: int
) -> RelationRecords:
    """The records with each relation replaced, with probability `ratio`, by another one drawn uniformly.

    Official: the files trainval_hico_{10,30,50}relation_noise.json, made without a seed; the object is
    not considered, so combinations may arise that no interaction has.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"relation_noise={ratio}: expected a probability, 0 to 1")
    generator = np.random.RandomState(seed)
    replaced = generator.random_sample(len(records.relations)) < ratio
    # adding 1..r-1 modulo r reaches every other relation with equal probability
    offsets = generator.randint(1, num_relations, size=len(replaced))
    relations = records.relations.copy()
    relations[replaced, 2] = (relations[replaced, 2] + offsets[replaced]) % num_relations
    return dataclasses.replace(records, relations=relations)


def few_shot(
    records: RelationRecords,
    percent: int | float,
    *,
    seed: int = 42,
    published: Path | None = None,
    stored: Path,
) -> RelationRecords:
    """A few percent of the training images, with all their labels.

    `published` is a subset file of the authors, or a list of file names or image ids. Without one the
    subset is drawn from `seed` (`draw_few_shot`; the published subsets were drawn without a seed and
    cannot be drawn again), stored in `stored` and read from there ever after.

    Raises:
        AnnotationError: the list names images that the split does not have, or the stored subset was
            drawn from other annotations.
    """
    if published is not None:
        logger.info("few-shot subset: %s", published)
        return _select(records, read_json(published), published)
    fingerprint = _fingerprint(records)
    if not stored.exists():
        chosen = draw_few_shot(records, percent, seed=seed)
        metadata = {
            "format": SUBSET_FORMAT,
            "note": "drawn from a seed in the manner of the official subsets; not the published one",
            "percent": percent,
            "seed": seed,
            "drawn_from": fingerprint,
            "file_names": [records.file_names[index] for index in chosen],
        }
        _store(stored, metadata)
    content = read_json(stored)
    expected = {"format": SUBSET_FORMAT, "percent": percent, "seed": seed, "drawn_from": fingerprint}
    found = {key: content.get(key) for key in expected} if isinstance(content, dict) else {}
    if found != expected:
        differing = [key for key in expected if found.get(key) != expected[key]]
        raise AnnotationError.in_file(
            stored,
            f"this subset was drawn from other annotations or settings ({', '.join(differing)} differ)",
            "remove the file to draw a new subset, or give another cache_dir",
        )
    logger.info("few-shot subset: %s (seed %d, not the published one)", stored, seed)
    return _select(records, content, stored)


def draw_few_shot(records: RelationRecords, percent: int | float, *, seed: int) -> list[int]:
    """Positions of a few percent of the images, drawn from a seed in the manner of the official subsets.

    For each relation one image among those that show it, so that an image may come twice (and stays
    twice); one image for each object class still missing; then images without repetition up to
    `percent` of those with relations. Depends on the images and their labels, not on their order.

    The official procedure draws the last part again and again until all classes occur. With 1 % of the
    images, and classes shown in a handful of them, that can take millions of draws or fail; here the
    missing classes are drawn first. Small splits may get more than `percent` that way.

    Raises:
        ValueError: not a percentage.
    """
    if not 0 < percent <= 100:
        raise ValueError(f"few_shot_percent={percent}: expected a number above 0 and up to 100")
    # RandomState: its streams are frozen, those of default_rng may change between NumPy versions
    generator = np.random.RandomState(seed)
    names = np.array(records.file_names)
    images = relation_images(records)
    order = np.lexsort((records.relations[:, 2], names[images]))
    images, relations = images[order], records.relations[order, 2]
    population = np.array(list(dict.fromkeys(images.tolist())), np.int64)
    chosen = [int(generator.choice(images[relations == relation])) for relation in np.unique(relations)]
    shown = np.zeros((len(records), records.labels.max(initial=-1) + 1), bool)
    shown[np.repeat(np.arange(len(records)), np.diff(records.box_ptr)), records.labels] = True
    for label in np.flatnonzero(shown[population].any(axis=0)):
        if not shown[chosen, label].any():
            chosen.append(int(generator.choice(population[shown[population, label]])))
    rest = population[~np.isin(population, chosen)]
    count = max(int(len(population) * percent / 100) - len(chosen), 0)
    return [*chosen, *generator.choice(rest, min(count, len(rest)), replace=False).tolist()]


def _fingerprint(records: RelationRecords) -> str:
    """Checksum over image names and their relations; the same whichever annotation format they came from."""
    names = np.array(records.file_names)
    images = relation_images(records)
    objects = records.labels[records.box_ptr[images] + records.relations[:, 1]]
    order = np.lexsort((objects, records.relations[:, 2], names[images]))
    digest = hashlib.sha256("\n".join(sorted(records.file_names)).encode())
    digest.update("\n".join(names[images[order]].tolist()).encode())
    digest.update(np.stack([records.relations[:, 2], objects], axis=1)[order].astype("<i8").tobytes())
    return digest.hexdigest()


def _store(path: Path, content: dict[str, Any]) -> None:
    try:
        write_json(path, content)
    except OSError as error:
        raise OSError(
            f"{path}: cannot store the few-shot subset ({error}); give a cache_dir that is writable"
        ) from error


def _select(records: RelationRecords, content: Any, path: Path) -> RelationRecords:
    """The images that a parsed list names: our format, PPDM records, file names or image ids."""
    listed = content.get("file_names") if isinstance(content, dict) else content
    if not isinstance(listed, list) or not listed:
        raise AnnotationError.in_file(path, "no list of images", "expected records, file names or image ids")
    entries = [entry.get("file_name") if isinstance(entry, dict) else entry for entry in listed]
    keys: Sequence[Any] = records.file_names if isinstance(entries[0], str) else records.image_ids.tolist()
    positions = {key: index for index, key in enumerate(keys)}
    unknown = [number for number, entry in enumerate(entries) if entry not in positions]
    if unknown:
        raise AnnotationError.in_record(
            path,
            unknown[0],
            json.dumps(entries[unknown[0]]),
            field="image",
            value=entries[unknown[0]],
            wrong="not an image of the training split",
            todo="the list belongs to another dataset, or the annotation file is incomplete",
            more=len(unknown) - 1,
        )
    return records.select([positions[entry] for entry in entries])
