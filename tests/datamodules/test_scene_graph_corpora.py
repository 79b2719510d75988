from types import SimpleNamespace

import numpy as np
import pytest

from rlipv2.datamodules import SceneGraphDataModule
from rlipv2.datasets import DatasetNotFoundError
from rlipv2.datasets.scene_graphs import NameCounts
from rlipv2.transforms import eval_transform, train_transform
from tests.fakes_corpora import write_corpora

SMALL = {
    "train_transform": train_transform(short_sides=[48], crop_short_sides=None),
    "eval_transform": eval_transform(short_side=48),
    "num_workers": 0,
    "batch_size": 2,
    "texts": 18,
    "max_relations": 100,
    "unrelated_images": "drop",
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return write_corpora(tmp_path_factory.mktemp("corpora"))


def module(settings, *names, rank=None, **options):
    data = SceneGraphDataModule(corpora={name: settings[name] for name in names}, **(SMALL | options))
    if rank is not None:
        data.trainer = SimpleNamespace(
            world_size=2, global_rank=rank, accumulate_grad_batches=1, current_epoch=0, ckpt_path=None
        )
    data.setup("fit")
    return data


def seen(batch):
    return batch.indices.tolist(), batch.label_space, [target.relations.sum().item() for target in batch.targets]


def batches(data, *, epoch=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def test_every_image_of_every_corpus_is_drawn_once_per_epoch(settings):
    data = module(settings, "vg", "coco", "objects365", "hico")
    indices = [index for batch in batches(data) for index in batch.indices.tolist()]
    assert sorted(indices) == list(range(14))  # 7 + 3 + 2 + 2
    assert indices != sorted(indices)
    of_vg = sum(data.corpus.key(index)[0] == "vg" for index in indices)
    assert of_vg == 7


def test_targets_of_a_mixed_batch_count_in_one_label_space(settings):
    data = module(settings, "vg", "coco", "hico")
    for batch in batches(data):
        assert len(batch.label_space.objects) <= 12
        for index, target in zip(batch.indices.tolist(), batch.targets, strict=True):
            space = data.corpus[index].label_space
            shown = {batch.label_space.relations[row] for _, row in target.relations.nonzero().tolist()}
            assert shown == set(space.relations)
            assert set(space.objects) <= set(batch.label_space.objects)


def test_names_are_drawn_from_all_corpora(settings):
    texts = {
        name for batch in batches(module(settings, "vg", "hico", texts=40)) for name in batch.label_space.relations
    }
    assert {"no interaction", "walk", "next to", "on"} <= texts


def test_two_processes_share_the_images_and_ask_for_different_names(settings):
    ranks = [batches(module(settings, "vg", "coco", rank=rank)) for rank in (0, 1)]
    indices = [[index for batch in own for index in batch.indices.tolist()] for own in ranks]
    assert len(ranks[0]) == len(ranks[1]) == 2
    assert not set(indices[0]) & set(indices[1])
    assert all(one.label_space != other.label_space for one, other in zip(*ranks, strict=True))


@pytest.mark.parametrize("stop", [1, 4])
def test_a_resumed_epoch_continues_with_the_same_batches(settings, stop):
    whole = module(settings, "objects365", "vg", "coco").train_dataloader()
    iterator = iter(whole)
    for _ in range(stop):
        next(iterator)
    state = whole.state_dict()
    rest = [seen(batch) for batch in iterator]
    again = module(settings, "objects365", "vg", "coco").train_dataloader()
    again.load_state_dict(state)
    assert [seen(batch) for batch in again] == rest
    assert len(rest) == 6 - stop


def corpora_of(data, loaded):
    """The corpus of each batch, which it must be of alone."""
    found = [{data.corpus.key(index)[0] for index in batch.indices.tolist()} for batch in loaded]
    assert all(len(corpora) == 1 for corpora in found)
    return [corpora.pop() for corpora in found]


def test_batches_may_alternate_between_the_corpora(settings):
    data = module(settings, "coco", "vg", "hico", alternate=["vg", "coco", "coco"])
    loaded = batches(data)
    assert corpora_of(data, loaded) == ["vg", "coco", "coco"] * 3  # 7 images of the first
    drawn = [index for batch in loaded[::3] for index in batch.indices.tolist()]
    assert len(set(drawn)) == 6
    few = [index for number, batch in enumerate(loaded) if number % 3 for index in batch.indices.tolist()]
    assert sorted(few[:3]) == sorted(few[3:6]) == [0, 1, 2]  # seen again when all were seen
    assert [seen(batch) for batch in batches(data, epoch=1)] != [seen(batch) for batch in loaded]


def test_processes_alternate_together(settings):
    ranks = []
    for rank in (0, 1):
        data = module(settings, "vg", "coco", rank=rank, alternate=["vg", "coco"], batch_size=1)
        ranks.append(batches(data))
        assert corpora_of(data, ranks[-1]) == ["vg", "coco"] * 3
    first, second = ([index for batch in own for index in batch.indices.tolist()] for own in ranks)
    assert not set(first[::2]) & set(second[::2])


def test_an_alternating_epoch_is_resumed(settings):
    def loader():
        return module(settings, "vg", "coco", alternate=["vg", "coco"]).train_dataloader()

    whole = loader()
    iterator = iter(whole)
    next(iterator)
    state = whole.state_dict()
    rest = [seen(batch) for batch in iterator]
    again = loader()
    again.load_state_dict(state)
    assert [seen(batch) for batch in again] == rest
    assert len(rest) == 5


def test_corpora_that_cannot_alternate_are_refused(settings):
    with pytest.raises(ValueError, match=r"alternate=\['vg', 'cc'\]: no corpus 'cc' in \['vg', 'coco'\]"):
        module(settings, "vg", "coco", alternate=["vg", "cc"])
    with pytest.raises(ValueError, match=r"batches of 8 images cannot alternate between corpora of \[7, 3\] images"):
        module(settings, "vg", "coco", alternate=["vg", "coco"], batch_size=8).train_dataloader()


def test_workers_change_nothing(settings):
    alone, helped = (batches(module(settings, "vg", "coco", num_workers=workers), epoch=1) for workers in (0, 2))
    assert [seen(batch) for batch in alone] == [seen(batch) for batch in helped]


def test_a_corpus_may_have_settings_of_its_own(settings):
    own = settings | {"coco": settings["coco"] | {"relation_threshold": 0.65, "exclude_ids": [6]}}
    data = module(own, "vg", "coco", pair_overlap=True, relation_threshold=0.1)
    assert data.corpus.parts["coco"].records.image_ids.tolist() == [5]
    assert len(data.corpus.parts["vg"]) == 7


def test_images_of_all_corpora_can_be_held_out(settings):
    data = module(settings, "vg", "coco", "hico", held_out=4)
    train, held = ({part.key(i) for i in range(len(part))} for part in (data.datasets["train"], data.datasets["val"]))
    assert (len(train), len(held)) == (8, 4)
    assert not train & held
    assert data.datasets["val"].names is data.corpus.names
    assert len(list(data.val_dataloader())) == 2
    with pytest.raises(ValueError, match=r"held_out=12: vg \+ coco \+ hico has 12 images with relations"):
        module(settings, "vg", "coco", "hico", held_out=12)


def test_counts_of_a_mixture_may_come_from_a_file(settings, tmp_path):
    names = NameCounts(("owl",), np.array([3]), ("eyeing",), np.array([1]))
    names.write(tmp_path / "names.json")
    data = module(settings, "vg", "coco", names=tmp_path / "names.json")
    assert data.corpus.names.objects == ("owl",)
    assert data.label_space.relations == ("eyeing",)


def test_the_missing_file_is_named_before_anything_is_read(settings):
    gone = settings | {"coco": settings["coco"] | {"annotations": "annotations/gone.json"}}
    with pytest.raises(DatasetNotFoundError, match=r"coco/annotations/gone.json: scene graphs not found"):
        SceneGraphDataModule(corpora=gone, **SMALL).require_data()
    SceneGraphDataModule(corpora=settings, **SMALL).require_data()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "neither root nor corpora is given"),
        ({"corpora": {}}, r"corpora=\[\] with nothing in it"),
        ({"root": "x", "corpora": {"vg": {"root": "y"}}}, r"corpora=\['vg'\] with root"),
        ({"test_annotations": "x", "corpora": {"vg": {"root": "y"}}}, "with test_annotations"),
        ({"corpora": {"vg": {"annotations": "y"}}}, "corpora.vg: without a root"),
        ({"corpora": {"vg": {"root": "y", "treshold": 1}}}, "corpora.vg: no setting 'treshold' of a corpus"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SceneGraphDataModule(**options)
