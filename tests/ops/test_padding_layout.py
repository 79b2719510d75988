import pytest
import torch
from torch.utils.data import DataLoader

from rlipv2.ops.padding import interleaved, pad_images, woven


def images(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(1, 256, (3, *size), dtype=torch.uint8, generator=generator) for size in sizes]


def test_interleaving_changes_the_memory_only():
    image = images((5, 7))[0]
    woven = interleaved(image)
    assert torch.equal(woven, image)
    assert woven.stride() == (1, 21, 3)
    assert interleaved(woven).data_ptr() == woven.data_ptr()
    cut = woven[:, 1:4, 2:6]
    assert torch.equal(interleaved(cut), image[:, 1:4, 2:6])
    assert interleaved(cut).stride() == (1, 12, 3)


@pytest.mark.parametrize("size", [(0, 4), (1, 1), (5, 7), (480, 640)])
def test_planes_are_woven_into_bytes(size):
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    image[:, :1, :1] = 255
    result = woven(image.float())
    assert torch.equal(result, image)
    assert result.dtype == torch.uint8
    assert result.permute(1, 2, 0).is_contiguous()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, interleaved])
def test_batches_hold_the_images_and_zeros(layout, shared):
    given = [layout(image) for image in images((5, 7), (6, 4), (6, 7))]
    batch, mask = pad_images(given, shared=shared)
    assert batch.shape == (3, 3, 6, 7)
    for row, image in enumerate(given):
        height, width = image.shape[1:]
        assert torch.equal(batch[row, :, :height, :width], image)
        assert not mask[row, :height, :width].any()
        assert int(mask[row].sum()) == 42 - height * width
        assert not (batch[row] * mask[row]).any()
    assert batch.is_contiguous(memory_format=torch.channels_last) == (layout is interleaved)
    assert batch.is_shared() == mask.is_shared() == shared


def test_images_of_several_layouts_become_planes():
    first, second = images((5, 7), (6, 4))
    assert pad_images([first, interleaved(second)])[0].is_contiguous()


class Items:
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return interleaved(images((5, 7), (6, 4))[index % 2])


def shared_batch(items):
    return pad_images(items, shared=True)


def test_batches_of_workers_arrive_whole():
    expected = shared_batch([Items()[0], Items()[1]])
    for batch, mask in DataLoader(Items(), 2, num_workers=1, collate_fn=shared_batch):
        assert torch.equal(batch, expected[0])
        assert torch.equal(mask, expected[1])
        assert batch.stride() == expected[0].stride()
