import pickle

import numpy as np
import pytest
import torch

from rlipv2.datamodules import SceneGraphDataModule
from rlipv2.datasets import DatasetNotFoundError
from rlipv2.transforms import eval_transform, train_transform
from tests.fakes_vg import graph, graphs, write_vg

TEST_FILE = "annotations/scene_graphs_test.json"
SMALL = {
    "train_transform": train_transform(short_sides=[48], crop_short_sides=None),
    "eval_transform": eval_transform(short_side=48),
    "num_workers": 0,
    "batch_size": 2,
    "texts": 9,
    "num_pairs": 7,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = write_vg(tmp_path_factory.mktemp("vg"))
    extra = graph(21, [("man", (2, 3, 10, 20)), ("moose", (9, 9, 20, 20))], [(0, "feeding", 1), (1, "on", 0)])
    return write_vg(folder, [extra], file=TEST_FILE)


def module(root, stage="fit", **options):
    data = SceneGraphDataModule(root, **(SMALL | options))
    data.setup(stage)
    return data


def named(batch):
    """(file position, {subject, object, relation}) of each image, by name."""
    space = batch.label_space
    return [
        (
            index,
            {
                (
                    space.objects[target.subject_labels[row]],
                    space.objects[target.object_labels[row]],
                    space.relations[r],
                )
                for row, r in target.relations.nonzero().tolist()
            },
        )
        for index, target in zip(batch.indices.tolist(), batch.targets, strict=True)
    ]


def content(batch):
    return batch.label_space, named(batch), int(batch.images.sum()), [target.subject_boxes for target in batch.targets]


def same(one, other):
    return one[:3] == other[:3] and all(torch.equal(*boxes) for boxes in zip(one[3], other[3], strict=True))


@pytest.mark.parametrize("pairs", ["relations", "tagger"])
def test_relabelled_targets_name_what_the_file_names(root, pairs):
    data = module(root, pairs=pairs, num_pairs=100)
    records = graphs()
    for batch in data.train_dataloader():
        for index, triplets in named(batch):
            record = records[index]
            names = {item["object_id"]: item["names"] for item in record["objects"]}
            assert triplets == {
                (names[row["subject_id"]], names[row["object_id"]], row["predicate"]) for row in record["relationships"]
            }


def test_batches_ask_for_the_names_of_their_images_and_drawn_ones(root):
    data = module(root, texts=11, object_share=0.5)
    for batch in data.train_dataloader():
        shown = [set(graphs()[index]["objects"][row]["names"] for row in range(3)) for index in batch.indices]
        assert set.union(*shown) <= set(batch.label_space.objects)
        assert len(batch.label_space.objects) == 5
        assert len(batch.label_space.relations) == 6
        assert all(target.relations.shape[1] == 6 for target in batch.targets)


def test_without_extension_batches_ask_for_their_own_names(root):
    batch = next(iter(module(root, texts=0, batch_size=1).train_dataloader()))
    record = graphs()[int(batch.indices[0])]
    assert batch.label_space.objects == tuple(dict.fromkeys(item["names"] for item in record["objects"]))


def test_tagger_targets_hold_unrelated_pairs_too(root):
    for batch in module(root, pairs="tagger").train_dataloader():
        for target in batch.targets:
            assert 6 <= len(target) <= 7  # three boxes have six ordered pairs
            related = target.relations.any(1)
            assert related.tolist() == sorted(related.tolist(), reverse=True)


def test_epochs_differ_and_come_again(root):
    one, other = (list(map(content, batches(module(root, pairs="tagger"), epoch=3))) for _ in range(2))
    assert all(map(same, one, other))
    assert [batch[0] for batch in batches_content(module(root, pairs="tagger"), 4)] != [batch[0] for batch in one]


def batches(data, *, epoch):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def batches_content(data, epoch):
    return list(map(content, batches(data, epoch=epoch)))


def test_the_same_images_get_other_names_and_pairs_in_another_epoch(root):
    data = module(root, pairs="tagger", texts=15)
    build, transformed = data.batch_builder(training=True), data.train_dataloader().dataset
    epochs = [build([transformed[index, epoch] for index in (4, 7)]) for epoch in range(8)]
    assert len({batch.label_space.relations[:4] for batch in epochs}) == 1  # those of the images
    assert len({batch.label_space.relations[4] for batch in epochs}) > 1
    assert len({tuple(batch.targets[1].object_labels.tolist()) for batch in epochs}) > 1


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_a_resumed_epoch_continues_with_the_same_batches(root, stop):
    whole = module(root, pairs="tagger").train_dataloader()
    iterator = iter(whole)
    for _ in range(stop):
        next(iterator)
    state = whole.state_dict()
    rest = list(map(content, iterator))
    again = module(root, pairs="tagger").train_dataloader()
    again.load_state_dict(state)
    resumed = list(map(content, again))
    assert len(rest) == len(resumed) == 4 - stop
    assert all(map(same, rest, resumed))


def test_two_ranks_ask_for_different_names(root):
    data = module(root, texts=15)
    build, transformed = data.batch_builder(training=True), data.train_dataloader().dataset
    ranks = [build([transformed[index, 0] for index in indices]).label_space for indices in ((0, 4), (3, 6))]
    assert set(ranks[0].relations) != set(ranks[1].relations)


def test_workers_change_nothing(root):
    alone = batches_content(module(root, pairs="tagger"), 0)
    assert all(map(same, alone, batches_content(module(root, pairs="tagger", num_workers=2), 0)))


def test_batch_builders_can_be_sent_to_workers(root):
    data = module(root, pairs="tagger")
    items = [data.train_dataloader().dataset[index, 0] for index in (1, 2)]
    build = data.batch_builder(training=True)
    assert same(content(build(items)), content(pickle.loads(pickle.dumps(build))(items)))


def test_evaluation_has_the_most_frequent_names_first_and_those_of_the_batch_behind(root):
    data = module(root, "test", pairs="tagger", test_annotations=TEST_FILE, eval_objects=2, eval_relations=2)
    assert data.label_space.objects == ("man", "street sign")
    assert data.label_space.relations == ("on", "next to")
    (batch,) = data.test_dataloader()
    assert batch.label_space.objects == ("man", "street sign", "moose")
    assert batch.label_space.relations == ("on", "next to", "feeding")
    assert named(batch) == [(0, {("man", "moose", "feeding"), ("moose", "man", "on")})]
    assert data.metric_arguments() == {"num_relations": 2}


def test_evaluation_pairs_are_the_same_every_time(root):
    data = module(root, pairs="tagger", held_out=3, num_pairs=4)
    first, second = (list(map(content, data.val_dataloader())) for _ in range(2))
    assert all(map(same, first, second))
    assert all(len(target) == 4 for batch in data.val_dataloader() for target in batch.targets)


def test_evaluation_boxes_are_in_the_stored_image(root):
    data = module(
        root, "test", pairs="tagger", test_annotations=TEST_FILE, eval_transform=eval_transform(short_side=96)
    )
    (batch,) = data.test_dataloader()
    assert batch.images.shape[2:] == (96, 128)
    expected = torch.tensor([7 / 64, 13 / 48, 10 / 64, 20 / 48])
    torch.testing.assert_close(batch.targets[0].subject_boxes[0], expected)


def test_held_out_images_have_relations_and_do_not_train(root):
    data = module(root, held_out=3)
    train, held = data.datasets["train"].records.image_ids, data.datasets["val"].records.image_ids
    assert len(train) == 5
    assert len(held) == 3
    assert not set(train) & set(held)
    assert 2 not in held
    assert data.datasets["test"] is data.datasets["val"]
    again = module(root, held_out=3).datasets["val"].records.image_ids
    np.testing.assert_array_equal(again, held)


def test_without_held_out_images_there_is_no_validation_and_a_test_says_so(root):
    data = module(root)
    assert len(data.datasets["train"]) == 8
    assert data.val_dataloader() == []
    with pytest.raises(ValueError, match=r"no images to evaluate on; hold some out with data.held_out=1000"):
        module(root, "test")


def test_reading_options_reach_the_dataset(root):
    assert len(module(root, unrelated_images="drop").datasets["train"]) == 7
    assert np.diff(module(root, max_relations=1).corpus.records.relation_ptr).max() == 1
    assert "tree" in module(root, lower_case=True).corpus.names.objects


def test_missing_data_is_told_before_anything_is_built(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="no scene graphs"):
        SceneGraphDataModule(tmp_path, **SMALL).require_data()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": "all"}, "pairs='all'"),
        ({"held_out": -1}, "held_out=-1"),
        ({"held_out": 2, "test_annotations": "x.json"}, "held_out=2 with test_annotations=x.json"),
        ({"pairs": "tagger", "subject_label": 1}, "subject_label=1 with pairs='tagger'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SceneGraphDataModule("somewhere", **options)


def test_too_many_held_out_images_are_refused(root):
    with pytest.raises(ValueError, match=r"held_out=7: .* has 7 images with relations"):
        module(root, held_out=7)
