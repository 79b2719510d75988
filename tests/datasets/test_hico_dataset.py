import copy
import dataclasses
import json
import logging
import pickle

import numpy as np
import pytest
import torch

from rlipv2 import vocabularies
from rlipv2.datasets import AnnotationError, DatasetNotFoundError, HICODet, ImageFileError
from rlipv2.datasets.hico.dataset import find_annotations, first_boxes
from rlipv2.structures import RelationRecords
from tests.fakes import hico_scenes, hicodet_content, ppdm_record, write_hico, write_image, write_json

TRAIN = "annotations/trainval_hico.json"
TEST = "annotations/test_hico.json"


def edit_records(folder, name, edit):
    path = folder / name
    records = json.loads(path.read_text())
    edit(records)
    path.write_text(json.dumps(records))
    return folder


@pytest.mark.parametrize("kind", ["ppdm", "mat", "hicodet_json"])
def test_samples_hold_image_and_labels(tmp_path, kind):
    dataset = HICODet(write_hico(tmp_path, kind=kind), "train")
    scene = hico_scenes("train", 6)[1]
    sample = dataset[1]
    assert len(dataset) == 6
    assert sample.image.dtype == torch.uint8
    assert sample.image.shape == (3, *scene.size)
    assert sample.original_size == scene.size
    assert sample.annotation.file_name == scene.file_name
    assert sample.annotation.image_id == 2
    subject, target, relation = sample.annotation.relations[0].tolist()
    assert sample.annotation.boxes_xyxy[subject].tolist() == list(scene.pairs[0].subject)
    assert sample.annotation.boxes_xyxy[target].tolist() == list(scene.pairs[0].object)
    vocabulary = vocabularies.load("hico")
    names = sample.label_space.relations[relation], sample.label_space.objects[sample.annotation.labels[target]]
    verb, row = vocabulary.hois[scene.pairs[0].hoi]
    assert names == (vocabulary.verbs[verb].replace("_", " "), vocabulary.objects[row])


def test_subjects_keep_their_real_label(tmp_path):
    annotation = HICODet(write_hico(tmp_path), "train")[0].annotation
    assert (annotation.labels[annotation.relations[:, 0]] == 0).all()


def test_indices_count_from_the_end_too_and_end_somewhere(tmp_path):
    dataset = HICODet(write_hico(tmp_path), "train")
    assert torch.equal(dataset[-1].annotation.boxes_xyxy, dataset[5].annotation.boxes_xyxy)
    assert len(dataset[-1].annotation.boxes_xyxy)
    with pytest.raises(IndexError):
        dataset[6]


def test_the_root_may_be_the_folder_above(tmp_path):
    folder = write_hico(tmp_path)
    assert HICODet(tmp_path, "test").root == HICODet(folder, "test").root == folder


def test_a_transform_gets_every_sample(tmp_path):
    def halve(sample):
        return dataclasses.replace(sample, image=sample.image[:, ::2, ::2])

    sample = HICODet(write_hico(tmp_path), "test", transform=halve)[0]
    assert sample.image.shape == (3, 24, 32)
    assert sample.original_size == (48, 64)


def test_the_dataset_can_be_sent_to_loader_workers(tmp_path):
    dataset = HICODet(write_hico(tmp_path), "train")
    assert pickle.dumps(dataset)
    again = copy.deepcopy(dataset)
    assert torch.equal(again[0].image, dataset[0].image)


def test_loader_workers_give_what_the_dataset_gives(tmp_path):
    dataset = HICODet(write_hico(tmp_path), "train")
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=1)
    for sample, expected in zip(loader, dataset, strict=True):
        assert torch.equal(sample.image, expected.image)
        assert torch.equal(sample.annotation.relations, expected.annotation.relations)


# --- which annotation file ---


def test_auto_prefers_ppdm_then_hicodet_json_then_mat(tmp_path, caplog):
    for kind, name in (("mat", "anno_bbox.mat"), ("hicodet_json", "instances_train2015.json"), ("ppdm", TRAIN)):
        folder = write_hico(tmp_path, kind=kind)
        with caplog.at_level(logging.INFO):
            assert find_annotations(folder, "train") == folder / name
    assert f"{folder / TRAIN} is used, {folder / 'instances_train2015.json'}" in caplog.text


def test_a_kind_or_a_path_can_be_asked_for(tmp_path):
    write_hico(tmp_path, kind="mat")
    folder = write_hico(tmp_path, kind="ppdm")
    assert HICODet(folder, annotations="mat").annotation_file == folder / "anno_bbox.mat"
    moved = (folder / TRAIN).rename(tmp_path / "mine.json")
    assert HICODet(folder, annotations=str(moved)).annotation_file == moved


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="annotations='hoia'"):
        HICODet(write_hico(tmp_path), annotations="hoia")


def test_what_is_missing_is_told_with_what_to_put_where(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="unpack hico_20160224_det") as raised:
        HICODet(tmp_path)
    assert "images/train2015" in str(raised.value)
    folder = write_hico(tmp_path)
    (folder / TRAIN).unlink()
    with pytest.raises(DatasetNotFoundError, match=r"annotations/trainval_hico\.json"):
        HICODet(folder)


def test_missing_images_are_told_at_construction(tmp_path):
    folder = write_hico(tmp_path)
    (folder / "images/train2015/HICO_train2015_00000003.jpg").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"1 of 6 images are missing \(HICO_train2015_00000003\.jpg\)"):
        HICODet(folder, "train")


def test_a_missing_image_folder_is_told(tmp_path):
    folder = write_hico(tmp_path)
    (folder / "images/test2015").rename(folder / "images/test")
    with pytest.raises(DatasetNotFoundError, match="image folder not found"):
        HICODet(folder, "test")


def test_an_image_that_went_bad_is_named_when_it_is_read(tmp_path):
    folder = write_hico(tmp_path)
    path = folder / "images/train2015/HICO_train2015_00000001.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    dataset = HICODet(folder, "train")
    with pytest.raises(ImageFileError, match=str(path)):
        dataset[0]
    path.unlink()
    with pytest.raises(DatasetNotFoundError, match=str(path)):
        dataset[0]


# --- rules of training ---


def break_record_2(records):
    records[2]["hoi_annotation"][0]["object_id"] = 50


def test_training_leaves_out_images_with_a_relation_to_a_missing_box(tmp_path, caplog):
    folder = edit_records(write_hico(tmp_path), TRAIN, break_record_2)
    dataset = HICODet(folder, "train", max_skip_rate=1 / 6)
    assert "HICO_train2015_00000003.jpg" not in dataset.records.file_names
    assert len(dataset) == 5
    assert dataset.counts["images skipped for a relation to a missing box"] == 1
    assert "1 images are skipped" in caplog.text


@pytest.mark.parametrize("options", [{}, {"max_skip_rate": 0}, {"max_skip_rate": 0.16}])
def test_training_refuses_to_leave_out_more_images_than_allowed(tmp_path, options):
    folder = edit_records(write_hico(tmp_path), TRAIN, break_record_2)
    message = (
        r"trainval_hico.json: record 2 \(image HICO_train2015_00000003.jpg\): .*; 1 of 6 images .*raise max_skip_rate"
    )
    with pytest.raises(AnnotationError, match=message):
        HICODet(folder, "train", **options)


def test_no_broken_record_needs_no_tolerance(tmp_path):
    assert len(HICODet(write_hico(tmp_path), "train", max_skip_rate=0)) == 6
    with pytest.raises(ValueError, match="max_skip_rate=10: expected a share"):
        HICODet(tmp_path, "train", max_skip_rate=10)


def test_evaluation_refuses_a_relation_to_a_missing_box(tmp_path):
    folder = edit_records(write_hico(tmp_path), TEST, break_record_2)
    with pytest.raises(AnnotationError, match=r"test_hico.json: record 2 \(image HICO_test2015_00000003.jpg\)"):
        HICODet(folder, "test")


def test_images_without_relations_stay_in_training(tmp_path):
    sample = HICODet(write_hico(tmp_path), "train")[3]
    assert sample.annotation.boxes_xyxy.shape == (0, 4)
    assert sample.annotation.relations.shape == (0, 3)


def test_max_boxes_keeps_the_first_boxes_and_relations_among_them(tmp_path):
    folder = write_hico(tmp_path)
    full, cut = (HICODet(folder, "train", max_boxes=count).records for count in (None, 2))
    for before, after in zip(full, cut, strict=True):
        assert torch.equal(after.boxes_xyxy, before.boxes_xyxy[:2])
        assert torch.equal(after.labels, before.labels[:2])
        assert torch.equal(after.relations, before.relations[(before.relations[:, :2] < 2).all(1)])
    assert len(HICODet(folder, "test", max_boxes=1).records.boxes) == len(HICODet(folder, "test").records.boxes)


def test_max_boxes_must_be_positive():
    with pytest.raises(ValueError, match="max_boxes=0"):
        first_boxes(RelationRecords.from_annotations([]), 0)


def stretch_first_box(records):
    records[0]["annotations"][0]["bbox"] = [-5, -5, 500, 20]


def test_training_clamps_and_evaluation_does_not(tmp_path):
    folder = write_hico(tmp_path)
    for name in (TRAIN, TEST):
        edit_records(folder, name, stretch_first_box)
    assert HICODet(folder, "train")[0].annotation.boxes_xyxy[0].tolist() == [0, 0, 64, 20]
    assert HICODet(folder, "train", training=False)[0].annotation.boxes_xyxy[0].tolist() == [-5, -5, 500, 20]
    assert HICODet(folder, "test")[0].annotation.boxes_xyxy[0].tolist() == [-5, -5, 500, 20]


# --- low-data settings ---


def test_zero_shot_drops_relations_of_unseen_interactions_only(tmp_path):
    folder, vocabulary = write_hico(tmp_path, num_train=60), vocabularies.load("hico")
    full, left = HICODet(folder, "train"), HICODet(folder, "train", zero_shot="uc_nf")
    pairs = [pair for scene in hico_scenes("train", 60) for pair in scene.pairs]
    seen = sum(not vocabulary.unseen["uc_nf"][pair.hoi] for pair in pairs)
    assert len(pairs) > seen == len(left.records.relations)
    assert left.records.file_names == full.records.file_names
    np.testing.assert_array_equal(left.records.boxes, full.records.boxes)
    assert left.counts["relations of unseen interactions dropped"] == len(pairs) - seen


def test_an_unknown_zero_shot_setting_is_refused(tmp_path):
    with pytest.raises(ValueError, match="zero_shot='nf'"):
        HICODet(write_hico(tmp_path), zero_shot="nf")


def test_few_shot_draws_stores_and_reads_back(tmp_path):
    folder = write_hico(tmp_path, num_train=80)
    first = HICODet(folder, few_shot_percent=90).records.file_names
    stored = folder / "cache" / "hico_fewshot_90pct_seed42.json"
    assert json.loads(stored.read_text())["file_names"] == list(first)
    assert HICODet(folder, few_shot_percent=90).records.file_names == first
    elsewhere = HICODet(folder, few_shot_percent=90, few_shot_seed=1, cache_dir=tmp_path / "other")
    assert elsewhere.records.file_names != first
    assert (tmp_path / "other" / "hico_fewshot_90pct_seed1.json").is_file()


def test_the_published_subset_is_preferred_and_may_repeat_images(tmp_path):
    folder = write_hico(tmp_path)
    scenes = hico_scenes("train", 6)
    write_json(folder / "annotations/trainval_hico_1percent.json", [ppdm_record(scenes[i], 0) for i in (4, 1, 4)])
    dataset = HICODet(folder, few_shot_percent=1)
    assert dataset.records.image_ids.tolist() == [5, 2, 5]
    assert not (folder / "cache").exists()


def test_a_list_of_names_or_ids_can_be_given(tmp_path):
    folder = write_hico(tmp_path)
    for content in (["HICO_train2015_00000002.jpg"], [2]):
        write_json(tmp_path / "ids.json", content)
        dataset = HICODet(folder, few_shot_percent=1, few_shot_file=tmp_path / "ids.json")
        assert dataset.records.image_ids.tolist() == [2]
    with pytest.raises(ValueError, match="without few_shot_percent"):
        HICODet(folder, few_shot_file=tmp_path / "ids.json")


def test_relation_noise_changes_relations_only(tmp_path):
    folder = write_hico(tmp_path, num_train=40)
    clean, noisy = (HICODet(folder, relation_noise=ratio).records for ratio in (0.0, 0.5))
    np.testing.assert_array_equal(noisy.relations[:, :2], clean.relations[:, :2])
    assert 0 < (noisy.relations[:, 2] != clean.relations[:, 2]).sum() < len(clean.relations)


@pytest.mark.parametrize("option", [{"zero_shot": "uo"}, {"few_shot_percent": 10}])
def test_relation_noise_is_for_the_full_data_only(tmp_path, option):
    with pytest.raises(ValueError, match=r"relation_noise=0\.1 with .*full training data only"):
        HICODet(write_hico(tmp_path), relation_noise=0.1, **option)


@pytest.mark.parametrize("option", [{"zero_shot": "uo"}, {"few_shot_percent": 1}, {"relation_noise": 0.1}])
def test_the_test_split_is_always_whole(tmp_path, option):
    with pytest.raises(ValueError, match="test is always whole"):
        HICODet(write_hico(tmp_path), "test", **option)


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises((ValueError, TypeError), match="val"):  # TypeError where types are checked
        HICODet(tmp_path, "val")


def test_prompts_come_from_the_vocabulary(tmp_path):
    vocabulary = vocabularies.load("hico", prompt="ing")
    dataset = HICODet(write_hico(tmp_path), "test", vocabulary=vocabulary)
    assert dataset[0].label_space.relations[0] == "adjusting"


def test_a_single_image_of_another_format_is_read(tmp_path):
    folder = write_hico(tmp_path)
    path = folder / "images/train2015/HICO_train2015_00000005.jpg"
    path.unlink()
    write_image(path, (48, 64), mode="P", format="PNG")
    assert HICODet(folder)[4].image.shape == (3, 48, 64)


def test_sources_that_do_not_agree_with_the_split_still_name_the_file(tmp_path):
    folder = write_hico(tmp_path, kind="hicodet_json")
    content = hicodet_content(hico_scenes("train", 6))
    content["annotation"][0]["hoi"][0] = 700
    write_json(folder / "instances_train2015.json", content)
    with pytest.raises(AnnotationError, match=r"instances_train2015\.json: record 0"):
        HICODet(folder)
