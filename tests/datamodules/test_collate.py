import dataclasses
import pickle
from multiprocessing.reduction import ForkingPickler

import pytest
import torch

from rlipv2.datamodules.collate import build_target, collate, pad_images
from rlipv2.structures import Annotation, LabelSpace, Sample

LABEL_SPACE = LabelSpace(objects=("person", "dog", "cup"), relations=("hold", "walk", "see"))


def make_annotation(boxes, labels, relations):
    return Annotation(
        image_id=3,
        file_name="a.jpg",
        boxes_xyxy=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.int64),
        relations=torch.tensor(relations, dtype=torch.int64).reshape(-1, 3),
    )


def make_sample(height, width, *, relations=((0, 1, 2),), original=None):
    annotation = make_annotation([[0, 0, 10, 10], [10, 5, 20, 15]], [0, 1], relations)
    image = torch.full((3, height, width), 7, dtype=torch.uint8)
    return Sample(image, annotation, LABEL_SPACE, original or (height, width))


def test_padding_is_zero_and_masked_at_the_right_and_bottom():
    images, mask = pad_images([torch.ones(3, 2, 5, dtype=torch.uint8), torch.ones(3, 4, 3, dtype=torch.uint8)])
    assert images.shape == (2, 3, 4, 5)
    assert images.dtype == torch.uint8
    assert torch.equal(images[:, 0] == 0, mask)
    assert mask[0, 2:].all()
    assert not mask[0, :2].any()
    assert mask[1, :, 3:].all()


def test_relations_of_a_pair_share_a_row_in_order_of_first_occurrence():
    annotation = make_annotation(
        [[0, 0, 4, 4], [2, 2, 6, 6], [4, 4, 8, 8]], [0, 1, 2], [[0, 2, 1], [0, 1, 0], [0, 2, 2], [1, 0, 0]]
    )
    target = build_target(annotation, (10, 10), num_relations=3)
    assert target.relations.tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]
    assert target.subject_labels.tolist() == [0, 0, 1]
    assert target.object_labels.tolist() == [2, 1, 0]


def test_pairs_are_merged_by_index_not_by_overlap():
    same = [[0, 0, 4, 4], [5, 5, 9, 9], [5, 5, 9, 9]]
    target = build_target(make_annotation(same, [0, 1, 1], [[0, 1, 0], [0, 2, 1]]), (10, 10), num_relations=2)
    assert len(target) == 2


def test_boxes_are_cxcywh_of_the_image():
    target = build_target(
        make_annotation([[0, 0, 20, 10], [10, 5, 20, 10]], [0, 1], [[0, 1, 0]]), (10, 40), num_relations=1
    )
    torch.testing.assert_close(target.subject_boxes, torch.tensor([[0.25, 0.5, 0.5, 1.0]]))
    torch.testing.assert_close(target.object_boxes, torch.tensor([[0.375, 0.75, 0.25, 0.5]]))


def test_subject_label_replaces_every_subject_class():
    annotation = make_annotation([[0, 0, 4, 4], [2, 2, 6, 6]], [0, 2], [[0, 1, 0], [1, 0, 0]])
    assert build_target(annotation, (9, 9), num_relations=1, subject_label=1).subject_labels.tolist() == [1, 1]


def test_image_without_relations_has_an_empty_target():
    target = build_target(make_annotation([], [], []), (9, 9), num_relations=4)
    assert target.relations.shape == (0, 4)
    assert target.subject_boxes.shape == (0, 4)


def test_relations_without_object_share_a_row_with_a_zero_box():
    annotation = make_annotation([[0, 0, 4, 4], [2, 2, 6, 6]], [0, 2], [[0, -1, 1], [0, 1, 0], [0, -1, 2], [1, -1, 0]])
    target = build_target(annotation, (10, 10), num_relations=3, subject_label=1, missing_object=7)
    assert target.relations.tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]
    assert target.object_labels.tolist() == [7, 2, 7]
    assert target.object_boxes[[0, 2]].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0]]
    torch.testing.assert_close(target.object_boxes[1], torch.tensor([0.4, 0.4, 0.4, 0.4]))


def test_relations_without_object_need_a_class_for_it():
    annotation = make_annotation([[0, 0, 4, 4]], [0], [[0, -1, 1]])
    with pytest.raises(ValueError, match=r"image 3 \(a.jpg\): a relation without object, but .* 'missing objects'"):
        build_target(annotation, (10, 10), num_relations=3)
    sample = Sample(torch.zeros(3, 9, 9, dtype=torch.uint8), annotation, LABEL_SPACE, (9, 9))
    with_class = LabelSpace(objects=(*LABEL_SPACE.objects, "missing objects"), relations=LABEL_SPACE.relations)
    batch = collate([(0, dataclasses.replace(sample, label_space=with_class))])
    assert batch.targets[0].object_labels.tolist() == [3]


def test_evaluation_records_with_boxes_without_area_lose_those_pairs_only():
    annotation = make_annotation([[0, 0, 4, 4], [5, 5, 5, 9], [1, 1, 30, 30]], [0, 1, 2], [[0, 1, 0], [0, 2, 1]])
    target = build_target(annotation, (10, 10), num_relations=2)
    assert target.object_labels.tolist() == [2]
    torch.testing.assert_close(target.object_boxes, torch.tensor([[0.55, 0.55, 0.9, 0.9]]))


def test_training_batch_has_targets_in_the_augmented_image_and_no_annotations():
    batch = collate([(4, make_sample(20, 40)), (2, make_sample(40, 20))], subject_label=1)
    assert batch.images.shape == (2, 3, 40, 40)
    assert batch.indices.tolist() == [4, 2]
    assert batch.annotations == []
    torch.testing.assert_close(batch.targets[1].object_boxes, torch.tensor([[0.75, 0.25, 0.5, 0.25]]))


def test_evaluation_batch_measures_boxes_in_the_stored_image():
    batch = collate([(0, make_sample(40, 80, original=(20, 40)))], boxes_in="original")
    assert batch.original_sizes.tolist() == [[20, 40]]
    assert batch.annotations[0].boxes_xyxy[1].tolist() == [10, 5, 20, 15]
    torch.testing.assert_close(batch.targets[0].object_boxes, torch.tensor([[15 / 40, 0.5, 0.25, 0.5]]))


def test_samples_of_two_label_spaces_are_refused():
    other = dataclasses.replace(make_sample(8, 8), label_space=LabelSpace(objects=("a",), relations=("b",)))
    with pytest.raises(ValueError, match="2 different label spaces"):
        collate([(0, make_sample(8, 8)), (1, other)])


def test_a_rule_may_choose_the_label_space_that_targets_count_in():
    space = LabelSpace(objects=("cup", "dog", "person", "kite"), relations=("see", "hold"))
    batch = collate([(0, make_sample(20, 40))], choose_labels=lambda samples: space)
    assert batch.label_space == space
    assert batch.targets[0].subject_labels.tolist() == [2]
    assert batch.targets[0].object_labels.tolist() == [1]
    assert batch.targets[0].relations.tolist() == [[1, 0]]


def test_evaluation_annotations_count_in_the_chosen_label_space():
    space = LabelSpace(objects=("dog", "person"), relations=("see",))
    batch = collate([(0, make_sample(20, 40))], boxes_in="original", choose_labels=lambda samples: space)
    assert batch.annotations[0].labels.tolist() == [1, 0]
    assert batch.annotations[0].relations.tolist() == [[0, 1, 0]]


def test_a_label_that_the_chosen_label_space_lacks_is_refused():
    space = LabelSpace(objects=("dog",), relations=("see",))
    with pytest.raises(KeyError, match=r"image 3 \(a.jpg\): a label is not among the 1 objects"):
        collate([(0, make_sample(20, 40))], choose_labels=lambda samples: space)


def test_another_target_is_made_of_the_relabelled_sample():
    seen = []

    def make_target(sample, size):
        seen.append((sample.label_space, size))
        return build_target(sample.annotation, size, num_relations=3)

    collate([(0, make_sample(20, 40, original=(10, 20)))], make_target=make_target)
    collate([(0, make_sample(20, 40, original=(10, 20)))], make_target=make_target, boxes_in="original")
    assert seen == [(LABEL_SPACE, (20, 40)), (LABEL_SPACE, (10, 20))]


def test_a_subject_label_for_another_target_is_refused():
    with pytest.raises(ValueError, match="subject_label=1 belongs to the default target"):
        collate([(0, make_sample(8, 8))], subject_label=1, make_target=lambda sample, size: None)


def test_only_pixels_are_handed_over_in_shared_memory():
    batch = collate([(4, make_sample(20, 40)), (2, make_sample(40, 20, relations=()))], boxes_in="original")
    small, stack = [], [batch.__getstate__()]
    while stack:
        item = stack.pop()
        if isinstance(item, dict | list):
            stack += item.values() if isinstance(item, dict) else item
        elif dataclasses.is_dataclass(item):
            stack.append(vars(item))
        elif isinstance(item, torch.Tensor):
            small.append(item)
    assert {id(tensor) for tensor in small} == {id(batch.images), id(batch.padding_mask)}


def test_a_batch_comes_out_of_another_process_as_it_went_in():
    batch = collate([(4, make_sample(20, 40)), (2, make_sample(40, 20, relations=()))], boxes_in="original")
    other = pickle.loads(ForkingPickler.dumps(batch))
    assert type(other) is type(batch)
    assert torch.equal(other.images, batch.images)
    assert torch.equal(other.original_sizes, batch.original_sizes)
    assert torch.equal(other.indices, batch.indices)
    assert other.label_space == batch.label_space
    for name in ("targets", "annotations"):
        for one, two in zip(getattr(other, name), getattr(batch, name), strict=True):
            for field in dataclasses.fields(two):
                value, expected = getattr(one, field.name), getattr(two, field.name)
                if isinstance(expected, torch.Tensor):
                    assert value.dtype == expected.dtype
                    assert torch.equal(value, expected)
                    value.add_(0)  # a loss may write into it
                else:
                    assert value == expected
