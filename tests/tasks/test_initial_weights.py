import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rlipv2.models.queries import AnchorQueries, LearnedQueries
from rlipv2.tasks.initial_weights import cut_table, initialize


class Network(nn.Module):
    def __init__(self, pairs=2, width=3, extra=False):
        super().__init__()
        self.queries = nn.ParameterDict({"content": nn.Parameter(torch.zeros(2 * pairs, width))})
        self.head = nn.Linear(width, 1)
        if extra:
            self.denoising = nn.Linear(width, 1)


def folder(path, network):
    path.mkdir()
    save_file(dict(network.state_dict()), path / "model.safetensors")
    return path


def table(pairs):
    return torch.arange(2.0 * pairs)[:, None].expand(-1, 3)


def test_official_cut_takes_the_first_rows():
    rows = cut_table(table(100), 128, "official")[:, 0].tolist()
    assert rows == list(range(128))  # objects 0-35 are old subjects 64-99


def test_halves_keep_the_pairs_together():
    rows = cut_table(table(100), 128, "halves")[:, 0].tolist()
    assert rows == [*range(64), *range(100, 164)]


@pytest.mark.parametrize(("how", "rows"), [("official", [0, 1, 2, 3]), ("halves", [0, 1, 3, 4])])
def test_longer_query_tables_are_cut_when_loading(tmp_path, how, rows):
    source = Network(pairs=3)
    source.queries["content"].data = table(3).contiguous()
    network = Network(pairs=2)
    initialize(network, folder(tmp_path / "w", source), cut_queries=how)
    assert network.queries["content"][:, 0].tolist() == rows
    assert torch.equal(network.head.weight, source.head.weight)


@pytest.mark.parametrize("queries", [LearnedQueries, AnchorQueries])
@pytest.mark.parametrize(("how", "rows"), [("official", [0, 1, 2, 3]), ("halves", [0, 1, 3, 4])])
def test_every_table_is_cut_in_its_own_way(tmp_path, how, rows, queries):
    source, network = nn.Module(), nn.Module()
    source.queries, network.queries = queries(3, 8), queries(2, 8)
    initialize(network, folder(tmp_path / "w", source), cut_queries=how)
    for name, long in source.queries.named_parameters():
        cut = network.queries.get_parameter(name)
        # relations have one row per pair, the linear layers none; all other tables subjects, then objects
        expected = long[:2] if name == "relation_position" else long if "reference" in name else long[rows]
        assert torch.equal(cut, expected), name


def test_parts_of_training_may_be_missing(tmp_path):
    network = Network(extra=True)
    before = network.denoising.weight.clone()
    initialize(network, folder(tmp_path / "w", Network()), cut_queries="official")
    assert torch.equal(network.denoising.weight, before)


def test_parts_of_training_in_the_file_are_skipped(tmp_path):
    initialize(Network(), folder(tmp_path / "w", Network(extra=True)), cut_queries="official")


def test_missing_folder_tells_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)python -m rlipv2.checkpoints convert FILE.pth .*model.init=null"):
        initialize(Network(), tmp_path / "nothing", cut_queries="official")


def test_weights_of_another_model_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"head.weight: \(1, 4\) in the file, \(1, 3\) in the model"):
        initialize(Network(), folder(tmp_path / "w", Network(width=4)), cut_queries="official")


def test_shorter_query_tables_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"queries.content: \(2, 3\) in the file, \(4, 3\) in the model"):
        initialize(Network(pairs=2), folder(tmp_path / "w", Network(pairs=1)), cut_queries="official")


def test_unknown_cut_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cut_queries='first'"):
        initialize(Network(), tmp_path, cut_queries="first")
