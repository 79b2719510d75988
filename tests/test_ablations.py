"""`loss=...`: Relation Quality Labels, Relation Pseudo-Labels and Label Sequence Extension, together and apart."""

import subprocess
import sys
from pathlib import Path

import hydra
import pytest
import torch

from rlipv2 import utils
from tests.fakes_corpora import write_corpora
from tests.test_config import composed, options
from tests.test_pretraining import ENVIRONMENT, ROOT, arguments

# quality labels, pseudo-labels, detached, sampled texts
EXPECTED = {
    "rlip": (True, True, False, True),
    "no_rql": (False, False, None, True),
    "no_rpl": (True, False, None, True),
    "rpl_detached": (True, True, True, True),
    "no_lse": (True, True, False, False),
    "rql": (True, False, None, False),
    "plain": (False, False, None, False),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    write_corpora(folder)
    return folder


def test_every_option_is_an_ablation() -> None:
    assert set(options("loss")) == EXPECTED.keys()


@pytest.mark.parametrize(
    ("experiment", "name"),
    [*(("rlip_vg_coco", name) for name in EXPECTED), ("micro_rlip", "rlip"), ("micro_rlip", "no_lse")],
)
def test_an_ablation_reaches_criterion_and_batches(root: Path, experiment: str, name: str) -> None:
    paths = [f"paths.vg={root / 'vg'}", f"paths.coco={root / 'coco'}"]
    config = composed(f"experiment={experiment}", f"loss={name}", "num_texts=40", *paths)
    utils.check_config(config)
    assert config.loss.name == name
    quality, pseudo, detached, sampled = EXPECTED[name]
    labels = hydra.utils.instantiate(config.model.criterion).labels
    assert labels.relation_quality == ("giou" if quality else None)
    assert (labels.pseudo_relations is not None) == pseudo
    if pseudo:
        text = torch.randn(4, 8, requires_grad=True)
        scores = labels.pseudo_relations(text, torch.eye(4)[:1])
        assert labels.pseudo_relations.threshold == 0.3
        assert scores.requires_grad is not detached
    if experiment == "rlip_vg_coco":  # the other one would be generated first
        config.data.corpora.coco.annotations = "annotations/coco.json"
    datamodule = hydra.utils.instantiate(config.data)
    assert datamodule.sampling["total"] == (40 if sampled else 0)
    if experiment == "rlip_vg_coco":
        choose = datamodule.batch_builder(training=True).keywords["choose_labels"]
        assert (choose.num_objects, choose.num_relations) == ((26, 14) if sampled else (0, 0))


@pytest.mark.parametrize(
    ("experiment", "name"),
    [
        ("rlip_vg", "rlip"),
        ("micro_rlip", "rlip"),
        ("tagger_vg", "no_rql"),
        ("micro_tagger", "no_rql"),
        ("hico_full", "rql"),
        ("vcoco_full", "plain"),
        ("micro_vcoco", "plain"),
    ],
)
def test_experiments_choose_the_published_labels(experiment: str, name: str) -> None:
    assert composed(f"experiment={experiment}").loss.name == name


@pytest.mark.slow
def test_ablations_are_a_sweep(root: Path, tmp_path: Path) -> None:
    overrides = ["debug=fdr", "num_texts=12", f"hydra.sweep.dir={tmp_path}"]
    command = [sys.executable, str(ROOT / "train.py"), "-m", "loss=rlip,no_rql,no_lse"]
    done = subprocess.run(
        [*command, *arguments(root, tmp_path, "rlip_vg_coco", *overrides)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    chosen = [(tmp_path / str(job) / ".hydra/overrides.yaml").read_text() for job in range(3)]
    assert [next(name for name in EXPECTED if f"loss={name}" in text) for text in chosen] == [
        "rlip",
        "no_rql",
        "no_lse",
    ]
