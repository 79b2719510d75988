"""Every panel shows something that runs log, and the specification is whole without a network."""

import json
import re
import sys
from functools import cache
from pathlib import Path

import hydra
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlipv2 import __main__ as front_door
from rlipv2.callbacks import SpeedMonitor
from rlipv2.dashboard import KINDS, __main__, dashboard, names
from rlipv2.losses import DETECTION_WEIGHTS, LOSS_WEIGHTS
from tests.fakes import write_hico, write_open_images
from tests.fakes_detection import write_detection
from tests.fakes_vcoco import write_vcoco
from tests.fakes_vg import write_vg

CONF = Path(__file__).parents[2] / "conf"
DATA = {
    "hico": write_hico,
    "vcoco": write_vcoco,
    "open_images": write_open_images,
    "vg": write_vg,
    "coco": write_detection,
}
MEASURED_BY = {  # experiments with published data and these metrics
    "hico": "hico_full",
    "vcoco": "vcoco_full",
    "open_images": "oi_sgg_full",
    "tagging": "tagger_vg",
    "coco": "od_coco",
}


@cache
def composed(experiment, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=[f"experiment={experiment}", *overrides])


def experiments(kind):
    """The experiments whose runs a dashboard shows: those with its data."""
    data = {
        path.stem: re.search(r"override /data: (\w+)", path.read_text())[1]
        for path in sorted((CONF / "experiment").glob("*.yaml"))
    }
    return [name for name, choice in data.items() if choice in dashboard(kind).data]


@pytest.fixture(scope="module")
def figures_of(tmp_path_factory):
    """Names of the figures of an experiment, from its own metrics on a miniature of its data."""
    root = tmp_path_factory.mktemp("data")
    paths = [f"paths.{name}={write(root / name)}" for name, write in DATA.items()]
    options = {"tagging": ["data.held_out=2"]}
    known = {}

    def figures(experiment):
        for key in composed(experiment).metrics:
            if key not in known:
                config = composed(MEASURED_BY[key], *paths, *options.get(key, []))
                data = hydra.utils.instantiate(config.data)
                data.setup("validate")
                metric = hydra.utils.instantiate(config.metrics[key])(**data.metric_arguments())
                known[key] = set(metric.compute())
        return set().union(*(known[key] for key in composed(experiment).metrics))

    return figures


def logged(experiment, figures):
    """The names that a run of an experiment logs."""
    config = composed(experiment)
    losses = set(DETECTION_WEIGHTS if config.model._target_.endswith("ObjectDetectionTask") else LOSS_WEIGHTS)
    if not OmegaConf.select(config, "model.criterion.subject_class", default=True):
        losses.remove("loss_subject_class")
    stages = ["val", "test"] if config.test else ["val"]
    values = {f"{stage}/{name}" for stage in stages for name in figures}
    values |= {f"{stage}/{name}" for stage in ["train", *stages] for name in ["loss", *losses]}
    values |= {names.EPOCHS, names.STEPS}
    if "learning_rates" in config.callbacks:
        values |= {f"lr/{group}" for group in ("base", *config.model.get("lr_ratios", ("backbone", "text_encoder")))}
    if "speed" in config.callbacks:
        values |= set(SpeedMonitor.NAMES)
    if "pictures" in config.callbacks:
        values |= {name.format(stage=stage) for name in (names.PICTURES, names.EXAMPLES) for stage in stages}
    if config.test and {"evaluation_report", "wandb_diagnosis"} <= config.callbacks.keys():
        values |= {*names.TABLES, *(chart.key for chart in names.CHARTS)}
    return values


@pytest.mark.parametrize("kind", KINDS)
def test_runs_log_what_their_dashboard_shows(kind, figures_of):
    found = {experiment: logged(experiment, figures_of(experiment)) for experiment in experiments(kind)}
    assert len(found) >= 2
    shown = set(dashboard(kind).keys)
    assert shown <= set().union(*found.values())
    if kind != "pretraining":  # which has no figures in common
        for experiment, values in found.items():
            assert shown <= values | {"train/loss_subject_class"}, experiment


def test_experiments_of_all_kinds_have_a_dashboard():
    assert {"rlip_vg_coco_o365", "tagger_vg", "od_coco", "micro_od"} <= set(experiments("pretraining"))
    assert {"hico_full", "hico_uo", "quickstart", "micro_fewshot_1pct"} <= set(experiments("hico"))


@pytest.mark.parametrize("kind", KINDS)
def test_specification_is_written_without_a_network(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked for the network"))
    file = tmp_path / "board.json"
    assert __main__.main(["--entity", "me", "--project", "mine", "--kind", kind, "--dry-run", str(file)]) == 0
    content = json.loads(file.read_text())
    assert (content["workspace"]["entity"], content["workspace"]["project"]) == ("me", "mine")
    sections = content["workspace"]["spec"]["section"]["panelBankConfig"]["sections"]
    board = dashboard(kind)
    assert [section["name"] for section in sections] == [section.title for section in board.sections]
    texts = {section["name"]: json.dumps(section["panels"]) for section in sections}
    for section in board.sections:
        assert all(key in texts[section.title] for panel in section.panels for key in panel.keys), section.title
    grids = [block for block in content["report"]["spec"]["blocks"] if block["type"] == "panel-grid"]
    assert len(grids) == len(board.sections)
    (runs,) = content["workspace"]["spec"]["section"]["runSets"]
    (chosen,) = runs["filters"]["filters"]
    assert (chosen["key"], chosen["op"]) == ({"section": "run", "name": "tags"}, "IN")
    assert chosen["value"] == list(board.data)


def test_specification_can_be_printed(capsys):
    assert __main__.main(["--entity", "me", "--kind", "vcoco", "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == {"workspace", "report"}


def test_missing_package_names_its_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    assert front_door.main(["dashboard", "--entity", "me", "--kind", "hico", "--dry-run"]) == 2
    assert "[dashboard]" in capsys.readouterr().err


def test_unknown_kind_is_refused(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["--entity", "me", "--kind", "coco"])
    assert "hico" in capsys.readouterr().err
    with pytest.raises(ValueError, match="expected one of hico, vcoco"):
        dashboard("coco")


def test_without_a_connection_the_command_says_what_is_needed(monkeypatch, capsys):
    monkeypatch.setattr(__main__, "workspace", lambda *_, **__: (_ for _ in ()).throw(ConnectionError("no network")))
    assert __main__.main(["--entity", "me", "--kind", "hico"]) == 2
    assert "wandb login" in capsys.readouterr().err
