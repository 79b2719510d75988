"""How far two runs agree, against counting by hand at every threshold."""

import numpy as np
import pytest

from rlipv2.pseudo_labels.agreement import STEPS, agreement
from rlipv2.pseudo_labels.plan import PlanError, join_plan
from rlipv2.pseudo_labels.records import Tags
from rlipv2.pseudo_labels.units import UnitError, UnitResult

TEXTS = ("on", "near", "riding")


class Images:
    """Ids alone."""

    image_ids = np.arange(10, 17)


def written(folder, unit_size, tags, **data):
    settings = {stage: {} for stage in ("caption", "parse", "candidates", "tag")}
    plan = join_plan(folder, {"images": 7, "unit_size": unit_size, **data}, settings)
    for unit in range(plan.num_units):
        rows = [(10 + place, tags[place]) for place in plan.images_of(unit) if tags[place] is not None]
        plan.folder("tag").folder.mkdir(exist_ok=True)
        plan.folder("tag").write(unit, UnitResult(rows), images=len(plan.images_of(unit)))
    return plan


def random_tags(seed):
    random = np.random.default_rng(seed)
    found = []
    for _ in range(7):
        count = int(random.integers(0, 30))
        pairs = random.integers(0, 4, (count, 2))
        texts = tuple(TEXTS[k] for k in random.integers(0, 3, count))
        found.append(Tags(pairs, texts, random.random(count).astype(np.float32)) if count else None)
    return found


def kept(tags, threshold):
    """{(image, subject, object, text)} of the relations that reach a threshold."""
    return {
        (place, *pair, text)
        for place, some in enumerate(tags)
        if some is not None
        for pair, text, score in zip(some.pairs.tolist(), some.texts, some.scores.tolist(), strict=True)
        if score >= threshold
    }


def test_shares_are_those_counted_by_hand(tmp_path):
    mine, theirs = random_tags(0), random_tags(1)
    found = agreement(written(tmp_path / "a", 3, mine), written(tmp_path / "b", 2, theirs), Images())
    assert found.other == "b"
    for k in range(STEPS + 1):
        a, b = kept(mine, k / STEPS), kept(theirs, k / STEPS)
        assert (found.here[k], found.there[k], found.both[k]) == (len(a), len(b), len(a & b))
        pairs, other_pairs = ({row[:3] for row in some} for some in (a, b))
        assert (found.pairs_both[k], found.pairs_any[k]) == (len(pairs & other_pairs), len(pairs | other_pairs))
    assert found.at(0.5)["share"] == pytest.approx(found.both[50] / (found.here[50] + found.there[50] - found.both[50]))
    assert np.isnan(found.shares[STEPS])


def test_runs_on_other_images_or_with_missing_units_are_refused(tmp_path):
    plan = written(tmp_path / "a", 3, random_tags(0))
    with pytest.raises(PlanError, match=r"dataset: was null, now"):
        agreement(plan, written(tmp_path / "b", 3, random_tags(0), dataset="o365"), Images())
    plan.folder("tag").done(1).unlink()
    with pytest.raises(UnitError, match="not there"):
        agreement(plan, plan, Images())
