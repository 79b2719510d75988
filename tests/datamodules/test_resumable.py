import dataclasses
import itertools

import pytest
import torch
from torch.utils.data import Dataset

from rlipv2.datamodules.resumable import (
    CachedDataset,
    EpochSampler,
    RelabelledDataset,
    ResumableLoader,
    TransformedDataset,
)
from rlipv2.structures import Annotation, LabelSpace, Sample

LABEL_SPACE = LabelSpace(objects=("person", "dog", "cup"), relations=("hold", "walk"))


class Images(Dataset):
    """Images whose value is their index; counts how often they are read."""

    def __init__(self, size=8):
        self.reads = []
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.reads.append(index)
        annotation = Annotation(
            index, f"{index}.jpg", torch.tensor([[0.0, 0, 4, 4], [1, 1, 3, 3]]), torch.tensor([0, 2]),
            torch.tensor([[0, 1, 1]]),
        )  # fmt: skip
        return Sample(torch.full((3, 6, 6), index, dtype=torch.uint8), annotation, LABEL_SPACE, (6, 6))


def add_noise(sample, generator=None):
    noise = torch.randint(0, 50, sample.image.shape, generator=generator, dtype=torch.uint8)
    return dataclasses.replace(sample, image=sample.image + noise)


def loader(**options):
    sampler = EpochSampler(10, batch_size=2, seed=5, **options)
    dataset = TransformedDataset(Images(10), add_noise, seed=5)
    return ResumableLoader(dataset, batch_size=2, sampler=sampler, collate_fn=lambda items: items)


def seen(batches):
    return [(index, int(sample.image.sum())) for batch in batches for index, sample in batch]


def test_epochs_are_different_permutations_that_come_again():
    sampler = EpochSampler(10, batch_size=2, seed=0)
    first = [index for index, _ in sampler]
    sampler.set_epoch(1)
    second = [index for index, _ in sampler]
    sampler.set_epoch(0)
    assert [index for index, _ in sampler] == first != second
    assert sorted(first) == sorted(second) == list(range(10))


def test_images_that_do_not_fill_a_step_are_left_out():
    assert len(EpochSampler(11, batch_size=2, seed=0, num_replicas=2, accumulate=2)) == 4


def test_two_ranks_see_the_batches_that_one_process_accumulates():
    one = [index for index, _ in EpochSampler(12, batch_size=2, seed=3, accumulate=2)]
    ranks = [
        [index for index, _ in EpochSampler(12, batch_size=2, seed=3, num_replicas=2, rank=rank)] for rank in (0, 1)
    ]
    steps = [ranks[rank][start : start + 2] for start in range(0, 6, 2) for rank in (0, 1)]
    assert list(itertools.chain(*steps)) == one


def test_fewer_images_than_a_step_are_refused():
    with pytest.raises(ValueError, match=r"7 images, but one optimiser step takes 8 .* 2 processes"):
        EpochSampler(7, batch_size=2, seed=0, num_replicas=2, accumulate=2)


@pytest.mark.parametrize("stop", range(6))
def test_restored_loader_gives_the_rest_of_the_epoch_augmented_alike(stop):
    whole = loader()
    batches = iter(whole)
    consumed = [next(batches) for _ in range(stop)]
    state = whole.state_dict()
    rest = list(batches)
    again = loader()
    again.load_state_dict(state)
    expected = rest if stop < 5 else next_epoch(whole)
    assert len(consumed) + len(rest) == 5
    assert seen(again) == seen(expected)


def next_epoch(used):
    used.sampler.set_epoch(1)
    return list(used)


def test_the_epoch_after_a_restored_one_is_whole():
    restored = loader()
    restored.load_state_dict({"epoch": 2, "batches": 3, "length": 5})
    assert len(list(restored)) == 2
    restored.sampler.set_epoch(3)
    assert len(list(restored)) == 5


def test_workers_change_nothing():
    alone = seen(loader())
    dataset = TransformedDataset(Images(10), add_noise, seed=5)
    sampler = EpochSampler(10, batch_size=2, seed=5)
    workers = ResumableLoader(dataset, batch_size=2, sampler=sampler, collate_fn=list, num_workers=2)
    assert seen(workers) == alone


def test_another_number_of_batches_cannot_be_resumed():
    with pytest.raises(ValueError, match="written with 7 batches per epoch and process, now there are 5"):
        loader().load_state_dict({"epoch": 0, "batches": 1, "length": 7})


def test_augmentation_depends_on_seed_epoch_and_index_only():
    dataset = TransformedDataset(Images(), add_noise, seed=1)
    first = dataset[3, 2][1].image
    torch.manual_seed(77)
    assert torch.equal(dataset[3, 2][1].image, first)
    assert not torch.equal(dataset[3, 1][1].image, first)


def test_draws_for_the_batch_depend_on_seed_epoch_and_index_only():
    def draw(seed, epoch, index):
        return TransformedDataset(Images(), add_noise, seed=seed)[index, epoch][1].draw

    assert draw(1, 2, 3) == draw(1, 2, 3)
    assert len({draw(1, 2, 3), draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)}) == 4
    assert TransformedDataset(Images(), None)[3][1].draw == draw(0, 0, 3)


def test_cached_images_are_read_once():
    images = Images()
    cached = CachedDataset(images)
    assert torch.equal(cached[2].image, cached[2].image)
    assert images.reads == [2]


def test_relabelled_samples_name_the_same_words():
    space = LabelSpace(objects=("cup", "person"), relations=("walk",))
    sample = RelabelledDataset(Images(), space)[0]
    assert [space.objects[row] for row in sample.annotation.labels] == ["person", "cup"]
    assert sample.annotation.relations.tolist() == [[0, 1, 0]]
    assert sample.label_space == space


def test_relabelling_to_words_that_lack_a_label_is_refused():
    dataset = RelabelledDataset(Images(), LabelSpace(objects=("person",), relations=("walk",)))
    with pytest.raises(KeyError, match=r"image 0 \(0.jpg\)"):
        dataset[0]
