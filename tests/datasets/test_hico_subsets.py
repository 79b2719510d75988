import json
import os
import time

import numpy as np
import pytest

from rlipv2 import vocabularies
from rlipv2.datasets import AnnotationError
from rlipv2.datasets.hico import subsets as hico_subsets
from rlipv2.datasets.hico.subsets import (
    add_relation_noise,
    draw_few_shot,
    drop_unseen,
    few_shot,
    relation_hois,
)
from rlipv2.datasets.records import out_of_range
from rlipv2.structures import RelationRecords

HICO = vocabularies.load("hico")


def records_of(images, names=None):
    """One person and one object box per interaction; `images` holds the interactions of each image."""
    hois = np.array([hoi for image in images for hoi in image], np.int64)
    counts = np.array([len(image) for image in images])
    ptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rows = np.arange(len(hois)) - np.repeat(ptr[:-1], counts)
    return RelationRecords(
        image_ids=np.arange(1, len(images) + 1),
        file_names=tuple(names or (f"{number:08d}.jpg" for number in range(1, len(images) + 1))),
        sizes=np.zeros((len(images), 2), np.int64),
        boxes=np.tile(np.array([0, 0, 9, 9], np.float32), (2 * len(hois), 1)),
        labels=np.stack([np.zeros_like(hois), HICO.hois[hois, 1]], 1).reshape(-1),
        box_ptr=2 * ptr,
        relations=np.stack([2 * rows, 2 * rows + 1, HICO.hois[hois, 0]], 1),
        relation_ptr=ptr,
    )


def training_counts():
    """Records with the interaction counts of the real training split, 500 per image."""
    hois = np.repeat(np.arange(600), HICO.train_counts)
    return records_of([hois[start : start + 500] for start in range(0, len(hois), 500)])


# every verb and object occurs; the second half repeats the first
MANY = records_of([[hoi] for hoi in range(600)] * 2 + [[]] * 10)


@pytest.mark.parametrize(("setting", "left"), [("uc_rf", 117_526), ("uc_nf", 35_159), ("uo", 100_590), ("uv", 93_522)])
def test_zero_shot_settings_leave_the_published_numbers_of_relations(setting, left):
    records = training_counts()
    kept = drop_unseen(records, HICO, setting)
    assert len(records.relations) == 117_871
    assert len(kept.relations) == left
    assert len(kept) == len(records)
    assert not HICO.unseen[setting][relation_hois(kept, HICO)].any()


def test_relations_that_are_no_interaction_are_not_unseen():
    records = records_of([[0, 1]])
    records.relations[0, 2] = HICO.verbs.index("zip")
    assert relation_hois(records, HICO).tolist() == [-1, 1]
    assert len(drop_unseen(records, HICO, "uc_rf").relations) == 2


def test_out_of_range_marks_relations_to_missing_boxes():
    records = records_of([[0], [0, 1]])
    records.relations[0, 1] = 2
    records.relations[2, 0] = 3
    assert out_of_range(records).tolist() == [True, False, False]


# --- few-shot ---


def test_a_draw_depends_on_the_seed_only():
    assert draw_few_shot(MANY, 30, seed=1) == draw_few_shot(MANY, 30, seed=1)
    assert draw_few_shot(MANY, 30, seed=1) != draw_few_shot(MANY, 30, seed=2)


def test_a_draw_has_the_official_size_and_every_class():
    chosen = MANY.select(draw_few_shot(MANY, 30, seed=3))
    assert len(chosen) == int(1200 * 30 / 100)  # images without relations are not counted
    assert len(np.unique(chosen.relations[:, 2])) == 117
    assert len(np.unique(chosen.labels)) == 80


def test_a_draw_begins_with_one_image_per_relation():
    first = MANY.select(draw_few_shot(MANY, 30, seed=3)[:117])
    np.testing.assert_array_equal(first.relations[:, 2], np.arange(117))


def test_images_drawn_for_two_relations_stay_twice():
    # "hold" and "ride" can only be drawn from image 1
    hold_ride = [HICO.hoi_ids[HICO.verbs.index(verb), HICO.objects.index("bicycle")] for verb in ("hold", "ride")]
    chosen = draw_few_shot(records_of([hold_ride, [], []]), 100, seed=0)
    assert chosen == [0, 0]


def test_a_draw_does_not_depend_on_the_order_of_records():
    order = np.random.default_rng(0).permutation(len(MANY))
    shuffled = MANY.select(order)
    expected = [MANY.file_names[index] for index in draw_few_shot(MANY, 30, seed=5)]
    assert [shuffled.file_names[index] for index in draw_few_shot(shuffled, 30, seed=5)] == expected


def test_one_percent_of_the_real_training_split_is_376_images():
    images = [[hoi] for hoi in range(600)] * 63
    chosen = draw_few_shot(records_of(images[:37_633]), 1, seed=42)
    assert len(chosen) == 376
    assert len(draw_few_shot(records_of(images[:37_633]), 10, seed=42)) == 3_763


def test_every_object_class_occurs_even_where_it_is_rare():
    # "hold" is drawn from one image; the toaster is shown in one image of a thousand
    hold = HICO.verbs.index("hold")
    bicycle, toaster = (HICO.hoi_ids[hold, HICO.objects.index(name)] for name in ("bicycle", "toaster"))
    records = records_of([[bicycle]] * 999 + [[toaster]])
    for seed in range(5):
        chosen = draw_few_shot(records, 1, seed=seed)
        assert 999 in chosen
        assert len(chosen) == 10


@pytest.mark.parametrize("percent", [0, -1, 101])
def test_impossible_percentages_are_refused(percent):
    with pytest.raises(ValueError, match=f"few_shot_percent={percent}"):
        draw_few_shot(MANY, percent, seed=0)


def test_an_empty_split_gives_an_empty_subset():
    assert draw_few_shot(records_of([[], []]), 10, seed=0) == []


def test_a_stored_subset_is_read_instead_of_drawn_again(tmp_path, monkeypatch):
    stored = tmp_path / "cache" / "subset.json"
    first = few_shot(MANY, 30, stored=stored)
    content = json.loads(stored.read_text())
    assert content["format"] == "rlipv2-subset/1"
    assert content["seed"] == 42
    assert content["percent"] == 30
    monkeypatch.setattr(hico_subsets, "draw_few_shot", None)
    again = few_shot(MANY, 30, stored=stored)
    assert again.file_names == first.file_names


def test_a_subset_of_other_annotations_is_refused(tmp_path):
    stored = tmp_path / "subset.json"
    few_shot(MANY, 30, stored=stored)
    changed = records_of([[hoi] for hoi in range(600)] + [[599 - hoi] for hoi in range(600)] + [[]] * 10)
    with pytest.raises(AnnotationError, match=r"drawn_from differ.*remove the file"):
        few_shot(changed, 30, stored=stored)
    with pytest.raises(AnnotationError, match="percent, seed differ"):
        few_shot(MANY, 40, seed=1, stored=stored)


def test_the_order_of_boxes_and_records_does_not_make_annotations_others(tmp_path):
    stored = tmp_path / "subset.json"
    first = few_shot(MANY, 30, stored=stored)
    assert few_shot(MANY.select(np.arange(len(MANY))[::-1]), 30, stored=stored).file_names == first.file_names


def test_a_crash_while_storing_leaves_nothing_behind(tmp_path, monkeypatch):
    stored = tmp_path / "subset.json"

    def crash(descriptor):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", crash)
        with pytest.raises(KeyboardInterrupt):
            few_shot(MANY, 30, stored=stored)
    assert list(tmp_path.iterdir()) == []
    assert len(few_shot(MANY, 30, stored=stored)) == 360


def test_a_damaged_store_is_refused_not_drawn_again(tmp_path):
    stored = tmp_path / "subset.json"
    few_shot(MANY, 30, stored=stored)
    stored.write_text(stored.read_text()[:100])
    with pytest.raises(AnnotationError, match="cut off"):
        few_shot(MANY, 30, stored=stored)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OSError, match="give a cache_dir that is writable"):
        few_shot(MANY, 30, stored=tmp_path / "cache" / "subset.json")


def test_a_list_of_unknown_images_is_refused(tmp_path):
    path = tmp_path / "published.json"
    path.write_text('["00000001.jpg", "elsewhere.jpg", "too.jpg"]')
    with pytest.raises(AnnotationError, match=r"record 1 .*elsewhere.jpg.*not an image of the training split \(and 1"):
        few_shot(MANY, 1, published=path, stored=tmp_path / "unused.json")
    path.write_text("{}")
    with pytest.raises(AnnotationError, match="no list of images"):
        few_shot(MANY, 1, published=path, stored=tmp_path / "unused.json")


# --- noise ---


def test_noise_replaces_the_asked_share_by_other_relations():
    records = training_counts()
    noisy = add_relation_noise(records, 0.3, 117, seed=0)
    changed = noisy.relations[:, 2] != records.relations[:, 2]
    assert changed.mean() == pytest.approx(0.3, abs=0.01)
    assert noisy.relations[:, 2].min() == 0
    assert noisy.relations[:, 2].max() == 116
    np.testing.assert_array_equal(noisy.relations, add_relation_noise(records, 0.3, 117, seed=0).relations)


def test_noise_of_one_replaces_every_relation_uniformly():
    records = training_counts()
    noisy = add_relation_noise(records, 1.0, 117, seed=0)
    assert (noisy.relations[:, 2] != records.relations[:, 2]).all()
    of_hold = noisy.relations[records.relations[:, 2] == HICO.verbs.index("hold"), 2]
    assert len(np.unique(of_hold)) == 116


def test_noise_is_a_probability():
    with pytest.raises(ValueError, match="relation_noise=30"):
        add_relation_noise(MANY, 30, 117, seed=0)


def test_drawing_from_the_real_size_takes_seconds_at_most():
    images = [[hoi] for hoi in range(600)] * 63
    start = time.perf_counter()
    draw_few_shot(records_of(images), 10, seed=42)
    assert time.perf_counter() - start < 10
