from collections import Counter

import pytest

from rlipv2.pseudo_labels.filters import (
    MergeRules,
    confident,
    count_names,
    deduplicate,
    filter_out_of_distribution,
    top_k_per_pair,
)


def relation(number, subject, predicate, object_, confidence):
    row = {"relationship_id": number, "predicate": predicate, "subject_id": subject, "object_id": object_}
    return row if confidence is None else row | {"confidence": confidence}


def ids(rows):
    return [row["relationship_id"] for row in rows]


ROWS = [
    relation(0, 1, "on", 2, 0.5),
    relation(1, 1, "on", 2, 0.5),
    relation(2, 1, "on", 2, 0.4),
    relation(3, 1, "near", 2, 0.3),
    relation(4, 1, "near", 2, 0.6),
    relation(5, 2, "on", 1, 0.1),
]
RECORD = {
    "image_id": 7,
    "objects": [{"object_id": 1, "names": "person"}, {"object_id": 2, "names": "horse"}],
    "relationships": ROWS,
}


def test_of_duplicates_the_first_most_confident_one_stays_or_all_of_them():
    assert ids(deduplicate(ROWS)) == [0, 4, 5]
    assert ids(deduplicate(ROWS, ties="all")) == [0, 1, 4, 5]
    assert deduplicate([]) == []


def test_the_best_of_each_pair():
    assert ids(top_k_per_pair(ROWS)) == [4, 0, 5]
    assert ids(top_k_per_pair(ROWS, 3)) == [4, 0, 1, 5]
    assert ids(top_k_per_pair(ROWS, 5)) == [0, 1, 2, 3, 4, 5]  # no more than five: in file order


def test_relations_of_people_have_no_confidence_and_stay():
    assert ids(confident([*ROWS, relation(6, 1, "has", 2, None)], 0.5)) == [0, 1, 4, 6]


def test_relations_that_the_prior_does_not_have_go():
    kept = filter_out_of_distribution(RECORD, {"person": {"horse": ["on"]}})
    assert ids(kept["relationships"]) == [0, 1, 2]
    assert len(RECORD["relationships"]) == 6
    assert filter_out_of_distribution(RECORD, {})["relationships"] == []


def test_rules_of_merging_and_what_they_count():
    counts = Counter()
    merged = MergeRules(min_confidence=0.2, topk_per_pair=1)(RECORD, counts)
    assert ids(merged["relationships"]) == [4]
    assert counts == {
        "images": 1,
        "relations before merging": 6,
        "relations": 1,
        "relations below the threshold dropped": 1,
        "duplicate relations dropped": 3,
        "relations beyond the best of their pair dropped": 1,
    }
    assert ids(MergeRules(prior={"horse": {"person": ["on"]}})(RECORD)["relationships"]) == [5]


def test_merging_sorts_by_confidence_unless_told_otherwise():
    assert ids(MergeRules()(RECORD)["relationships"]) == [4, 0, 5]
    assert ids(MergeRules(order="official")(RECORD)["relationships"]) == [0, 4, 5]
    assert ids(MergeRules(dedupe="all")(RECORD)["relationships"]) == [4, 0, 1, 5]
    assert MergeRules.official()(RECORD) == RECORD


@pytest.mark.parametrize(
    "options",
    [{"dedupe": "yes"}, {"order": "random"}, {"topk_per_pair": 0}, {"min_confidence": 5}, {"min_confidence": "abc"}],
)
def test_unknown_rules_are_refused(options):
    with pytest.raises(ValueError, match="merge: "):
        MergeRules(**options)


def test_names_are_counted_most_frequent_first():
    names = count_names([RECORD, RECORD])
    assert (names.relations, names.relation_counts.tolist()) == (("on", "near"), [8, 4])
    assert (names.objects, names.object_counts.tolist()) == (("person", "horse"), [2, 2])
    assert count_names([]).objects == ()
