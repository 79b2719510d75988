"""All units of a run become one file of annotations, which relational pre-training reads."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from rlipv2.datasets.files import sha256
from rlipv2.ops.files import remove_leftovers, write_atomically
from rlipv2.pseudo_labels.annotations import FIRST_IDS, RecordIds, image_record, write_annotations, write_store
from rlipv2.pseudo_labels.batches import ImageFailure
from rlipv2.pseudo_labels.filters import MergeRules, Record
from rlipv2.pseudo_labels.plan import Plan, digest
from rlipv2.pseudo_labels.prior import read_prior
from rlipv2.pseudo_labels.records import LabelledImage, SceneGraph, Tags
from rlipv2.pseudo_labels.report import ReportImage
from rlipv2.pseudo_labels.source import LabelledImages
from rlipv2.pseudo_labels.units import FOLDERS, UnitError, failures_of

FOLDER = "annotations"
SHOWN = 10
RULES = tuple(field.name for field in fields(MergeRules))
NO_TAGS = Tags(np.zeros((0, 2), np.int64), (), np.zeros(0, np.float32))

logger = logging.getLogger(__name__)


def rules_of(options: Mapping[str, Any]) -> MergeRules:
    """The rules of plain options; `prior` is a file, see `read_prior`.

    Raises:
        DatasetNotFoundError: there is no such file.
        AnnotationError: it cannot be read.
        ValueError: an option out of range.
    """
    rules = MergeRules(**{name: value for name, value in options.items() if name != "prior"})
    prior = options.get("prior")
    return rules if prior is None else replace(rules, prior=read_prior(prior))


def merge(
    plan: Plan,
    images: LabelledImages,
    rules: MergeRules,
    *,
    file: str,
    allow_incomplete: bool = False,
    index: bool = True,
    image_paths: str | Path | None = None,
) -> Path:
    """Writes `<out>/annotations/<file>` from all units in order, and returns its path.

    Nothing is done if the file was made from the same units by the same rules. Images that could not be read are left
    out; those without relations are not.

    Args:
        plan: of the run.
        images: of the run.
        rules: which relations are kept.
        file: name of the file.
        allow_incomplete: leave out units that are not complete, instead of refusing.
        index: write the store that training would build, where the images lie.
        image_paths: `image_id_to_filepath.json` of Objects365, for the store.

    Raises:
        UnitError: units are not complete; names the first ones.
    """
    path = plan.out / FOLDER / file
    note = path.with_name(f"{path.name}.done.json")
    units, contents = complete_units(plan, allow_incomplete=allow_incomplete)
    failed = [sorted(failed_images(plan, unit)) for unit in units]
    made_from = digest([plan.chain("tag"), _plain_rules(rules), contents, failed])
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(plan.out / ".merge.lock"):  # nobody replaces the file while another process reads it for the store
        remove_leftovers(path.parent)
        if not _is_current(path, note, made_from):
            counts: Counter[str] = Counter()
            write_annotations(path, merged_records(plan, images, rules, units, counts=counts))
            told = {"made_from": made_from, "sha256": sha256(path), "counts": dict(counts), "units": len(units)}
            write_atomically(note, json.dumps(told, indent=1) + "\n")
        if index:
            _write_store(images, path, image_paths)
    logger.info("merge: %s: %s", path, ", ".join(f"{n:,} {what}" for what, n in read_counts(plan, file).items()))
    return path


def complete_units(plan: Plan, *, allow_incomplete: bool = False) -> tuple[list[int], list[str]]:
    """The units whose tags are complete, and the checksum of each.

    Raises:
        UnitError: some are not, and that is not allowed, or none is.
    """
    folder = plan.folder("tag")
    units, contents, problems = [], [], []
    for unit in range(plan.num_units):
        try:
            contents.append(folder.record(unit).digest)
            units.append(unit)
        except UnitError as error:
            problems.append(str(error))
    if problems and (not allow_incomplete or not units):
        missing = [unit for unit in range(plan.num_units) if unit not in set(units)]
        shown = ", ".join(map(str, missing[:SHOWN])) + (", ..." if len(missing) > SHOWN else "")
        raise UnitError(
            f"{plan.out}: {len(missing):,} of {plan.num_units:,} units are not complete ({shown}): {problems[0]}; run "
            "the command again to finish them, or merge what is there: merge.allow_incomplete=true"
        )
    if problems:
        logger.warning("merge: %s of %s units are left out, they are not complete", len(problems), plan.num_units)
    return units, contents


def merged_records(
    plan: Plan,
    images: LabelledImages,
    rules: MergeRules,
    units: list[int],
    *,
    counts: Counter[str] | None = None,
) -> Iterator[Record]:
    """The records of the images of some units in order, a unit in memory at a time."""
    counts = Counter() if counts is None else counts
    ids, split = RecordIds(), None
    for unit in units:
        for image, tags, failed in tagged_images(plan, images, unit):
            if image.split != split:  # official: numbers begin anew with each split
                ids, split = RecordIds.starting(images.dataset), image.split
            if failed:
                counts["images left out, as they cannot be read"] += 1
                continue
            record = image_record(image, tags, ids, class_names=images.names, dataset=images.dataset)
            record = rules(record, counts)
            counts["images without relations"] += not record["relationships"]
            yield record


def tagged_images(plan: Plan, images: LabelledImages, unit: int) -> Iterator[tuple[LabelledImage, Tags, bool]]:
    """The images of a unit, each with its scored relations and whether a stage could not read it."""
    folder = plan.folder("tag")
    rows = dict(folder.rows(unit))
    failed = failed_images(plan, unit)
    for image in images.read(plan.images_of(unit)):
        yield image, rows.get(image.image_id, NO_TAGS), image.image_id in failed


def failed_images(plan: Plan, unit: int) -> set[int]:
    """The images of a unit that a network could not get."""
    return {failure.image_id for stage in ("caption", "tag") for failure in failures_of(plan.folder(stage), unit)}


def report_images(plan: Plan, images: LabelledImages, rules: MergeRules, units: list[int]) -> Iterator[ReportImage]:
    """Everything that the stages know of the images of some units, relations as they are merged."""
    for unit in units:
        rows = {
            stage: {row["image_id"]: row for row in plan.folder(stage).rows(unit)}
            for stage in ("caption", "parse", "candidates")
        }
        for image, tags, _ in tagged_images(plan, images, unit):
            ids = RecordIds.starting(images.dataset)
            record = rules(image_record(image, tags, ids, class_names=images.names, dataset=images.dataset))
            found = {stage: some.get(image.image_id, {}) for stage, some in rows.items()}
            yield ReportImage(
                image=image,
                file=images.path(image),
                captions=tuple(found["caption"].get("captions", ())),
                graphs=tuple(SceneGraph.from_dict(graph) for graph in found["parse"].get("graphs", ())),
                tags=tags_of(record),
                num_candidates=sum(len(pairs) for pairs, _ in found["candidates"].get("groups", ())),
            )


def all_failures(plan: Plan, units: list[int]) -> Iterator[tuple[str, ImageFailure]]:
    """(stage, failure) of all images of some units that failed."""
    for stage in FOLDERS:
        for unit in units:
            for failure in failures_of(plan.folder(stage), unit):
                yield stage, failure


def tags_of(record: Record) -> Tags:
    """The relations of a record; pairs are rows of its objects."""
    rows = {row["object_id"]: number for number, row in enumerate(record["objects"])}
    relations = record["relationships"]
    pairs = [(rows[relation["subject_id"]], rows[relation["object_id"]]) for relation in relations]
    return Tags(
        np.array(pairs, np.int64).reshape(-1, 2),
        tuple(relation["predicate"] for relation in relations),
        np.array([relation["confidence"] for relation in relations], np.float32),
    )


def read_counts(plan: Plan, file: str) -> dict[str, int]:
    """What merging counted; nothing before it was done."""
    try:
        counts: dict[str, int] = json.loads((plan.out / FOLDER / f"{file}.done.json").read_bytes())["counts"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return counts


def _is_current(path: Path, note: Path, made_from: str) -> bool:
    try:
        told = json.loads(note.read_bytes())
        return bool(told["made_from"] == made_from and told["sha256"] == sha256(path))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _plain_rules(rules: MergeRules) -> dict[str, Any]:
    plain = {name: getattr(rules, name) for name in rules.__dataclass_fields__ if name != "prior"}
    prior = (
        None if rules.prior is None else hashlib.sha256(json.dumps(rules.prior, sort_keys=True).encode()).hexdigest()
    )
    return plain | {"prior": prior}


def _write_store(images: LabelledImages, path: Path, image_paths: str | Path | None) -> None:
    found = None if image_paths is None else Path(image_paths).expanduser()
    if images.dataset == "o365" and (found is None or not found.is_file()):
        logger.warning(
            "merge: the index of %s is not built: training needs the list of images %s; write it with `python -m "
            "rlipv2.datasets convert objects365 %s %s`",
            *(path.name, found, images.root, images.root / "image_id_to_filepath.json"),
        )
        return
    write_store(images.root, path, image_paths=found if images.dataset in FIRST_IDS else None)
