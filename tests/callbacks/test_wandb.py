"""What W&B gets: an offline run is read back from its files."""

import json
from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

import train
from rlipv2 import utils
from rlipv2.callbacks import LoggerIds, ModelArtifact, Pictures, WandbDiagnosis, WandbLogger, wandb_loggers
from rlipv2.callbacks.wandb_logger import curve
from rlipv2.dashboard import dashboard, names
from rlipv2.metrics.diagnosis import diagnose
from tests.callbacks.test_pictures import SPACE, annotation, batch, pairs, trainer, validated
from tests.fakes import write_hico
from tests.test_train import ROOT, configured, even_scenes
from tests.wandb_files import offline_runs


@pytest.fixture(scope="module", autouse=True)
def _own_folder(tmp_path_factory):
    """Copies of artifacts go there instead of the home of whoever tests."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WANDB_DATA_DIR", str(tmp_path_factory.mktemp("wandb")))
        yield


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train/loss", ("trainer/global_step", "min,last")),
        ("val/loss_relation", ("epoch", "min,last")),
        ("val/object_class_error", ("epoch", "min,last")),
        ("val/map_full", ("epoch", "max,last")),
        ("memory/process_gib", ("trainer/global_step", "max,last")),
        ("test/map_full", ("trainer/global_step", None)),
        ("lr/base", ("trainer/global_step", None)),
    ],
)
def test_curves_have_an_axis_and_a_summary(name, expected):
    assert curve(name) == expected


def diagnosed():
    """The diagnosis of one image with a label that is found and one that is not."""
    return diagnose([pairs()], [annotation(0, relations=((0, 1, 0), (1, 0, 1)))], SPACE)


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """An offline run with figures of two epochs, pictures and the diagnosis of a test."""
    folder = tmp_path_factory.mktemp("run")
    logger = WandbLogger(save_dir=folder, project="tests", name="tiny", offline=True, tags=["hico"], group="sweep")
    it = trainer(loggers=[logger])
    logger.log_hyperparams({"model": {"lr": 0.1}, "name": "tiny"})
    for epoch, figure in enumerate((0.2, 0.5, 0.3)):
        row = {"val/map_full": figure, "val/loss": 1 - figure, "epoch": epoch}
        logger.log_metrics(row, step=10 * epoch)
    validated(Pictures(None), it, batch(annotation(0), annotation(1)))
    it.callbacks = [SimpleNamespace(diagnosis=diagnosed()), SimpleNamespace(), SimpleNamespace(diagnosis=None)]
    WandbDiagnosis().on_test_end(it, None)
    logger.experiment.finish()
    (run,) = offline_runs(folder)
    return run


def test_run_and_config_are_there(logged):
    assert (logged.run.project, logged.run.display_name, logged.run.run_group) == ("tests", "tiny", "sweep")
    assert list(logged.run.tags) == ["hico"]
    assert logged.config["model"] == {"lr": 0.1}
    assert logged.exit_code == 0


def test_summary_has_the_best_and_the_last_value(logged):
    assert logged.summary["val/map_full"] == {"max": 0.5, "last": 0.3}
    assert logged.summary["val/loss"] == {"min": 0.5, "last": 0.7}
    assert logged.metrics["val/map_full"].step_metric == "epoch"
    assert logged.column("val/map_full") == [0.2, 0.5, 0.3]


def test_pictures_have_their_boxes(logged):
    (row,) = (row for row in logged.rows if "val/pictures.filenames" in row)
    assert row["epoch"] == 3
    files = [logged.folder / "files" / name for name in row["val/pictures.filenames"]]
    assert len(files) == 2
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    for layers in row["val/pictures.all_boxes"]:
        assert layers.keys() == {"predictions", "ground_truth"}
        boxes = json.loads((logged.folder / "files" / layers["predictions"]["path"]).read_text())["box_data"]
        assert "1 hold, walk dog" in [box["box_caption"] for box in boxes]
    assert row["val/pictures.captions"][0].startswith("folder/a picture 0.jpg: person hold dog 0.75;")


def tables(run):
    """All tables of a run by name."""
    found = {}
    for row in run.rows:
        for name, path in row.items():
            if name.endswith(".path") and "media/table" in str(path):
                found[name.removesuffix(".path")] = json.loads((run.folder / "files" / path).read_text())
    return found


def test_tables_and_charts_of_the_diagnosis_are_there(logged):
    found = tables(logged)
    assert found.keys() == {"val/examples", *names.TABLES, *(f"{chart.key}_table" for chart in names.CHARTS)}
    for chart in names.CHARTS:
        assert found[f"{chart.key}_table"]["columns"] == chart.columns
        assert logged.config[f"_wandb.visualize.{chart.key}"]["panel_config"]["panelDefId"] == chart.preset
    per_triplet = found[names.PER_TRIPLET]
    rows = [dict(zip(per_triplet["columns"], row, strict=True)) for row in per_triplet["data"]]
    assert {(row["subject"], row["relation"], row["object"]): row["ap"] for row in rows if row["labelled"]} == {
        ("person", "hold", "dog"): pytest.approx(1.0),
        ("dog", "walk", "person"): 0.0,
    }
    cells = found[f"{names.CONFUSION.key}_table"]["data"]
    assert ["hold", "hold", 1] in cells
    assert ["walk", "no pair", 1] in cells


def test_other_processes_have_no_logger():
    logger = WandbLogger(save_dir=".", offline=True)
    assert wandb_loggers(SimpleNamespace(is_global_zero=False, loggers=[logger])) == []
    assert wandb_loggers(SimpleNamespace(is_global_zero=True, loggers=[logger])) == [logger]


def test_run_ids_go_into_checkpoints():
    checkpoint = {}
    LoggerIds().on_save_checkpoint(SimpleNamespace(loggers=[WandbLogger(id="abc", offline=True)]), None, checkpoint)
    assert checkpoint["logger_ids"] == {"wandb": "abc"}


@pytest.mark.parametrize("name", ["hico_full", "my run/äb"])
def test_names_of_artifacts_are_those_that_are_allowed(name, tmp_path):
    artifact = ModelArtifact(name, folder=tmp_path, tested=True)
    assert artifact.name in ("hico_full", "my-run-b")


def with_hydra(*overrides):
    """A composed configuration with Hydra's part."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides=["logger=wandb", *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return config, HydraConfig.get()


def test_runs_are_described_by_their_choices():
    config, hydra_config = with_hydra("experiment=hico_fewshot_1pct", "backbone=swin_tiny")
    train.describe_run(config, hydra_config)
    told = config.logger.wandb
    assert list(told.tags) == ["hico_fewshot_1pct", "rlipv2_parseda", "swin_tiny", "hico", "fewshot_1pct"]
    assert (told.job_type, told.group, told.name) == ("train", None, "hico_fewshot_1pct")
    assert "backbone=swin_tiny" in told.notes
    assert set(told.tags) & set(dashboard("hico").data)  # the dashboard finds the run


def test_jobs_of_a_sweep_are_a_group():
    config, _ = with_hydra("experiment=hico_full", "logger.wandb.tags=[mine]")
    hydra_config = SimpleNamespace(
        mode=RunMode.MULTIRUN,
        runtime=SimpleNamespace(choices={}),
        overrides=SimpleNamespace(task=[]),
        sweep=SimpleNamespace(dir="logs/hico_full/sweep_2026-01-02_03-04-05"),
        job=SimpleNamespace(num=3),
    )
    train.describe_run(config, hydra_config)
    told = config.logger.wandb
    assert (told.group, told.name) == ("hico_full-sweep_2026-01-02_03-04-05", "hico_full-3")
    assert list(told.tags) == ["mine"]


@pytest.mark.slow
def test_whole_training_offline(tmp_path):
    """Configuration, curves, pictures, tables and weights are there; resumed it goes on under the same id."""
    hico = write_hico(tmp_path, scenes={"train": even_scenes("train", 8), "test": even_scenes("test", 5)})
    out = tmp_path / "out"
    out.mkdir()
    wandb = ["logger=wandb", "logger.wandb.offline=true"]
    train.run(configured(hico, out, *wandb, "trainer.max_epochs=2"))
    (run,) = offline_runs(out)
    assert run.exit_code == 0
    assert run.config["name"] == "hico_full"
    assert run.config["model"]["detector"]["queries"]["num_pairs"] == 6
    keys = {key.partition(".")[0] for row in run.rows for key in row}
    keys |= {key.removesuffix("_table") for key in keys}  # of charts the history has the tables
    assert set(dashboard("hico").keys) - {names.GPU_PEAK, names.GPU_RESERVED} <= keys
    assert run.summary["val/map_full"].keys() == {"max", "last"}
    assert len(run.column("train/loss")) == 8
    assert run.column("progress/images") == [2.0 * step for step in range(1, 9)]
    assert {"val/examples", "test/examples", names.PER_TRIPLET} <= tables(run).keys()
    models = [artifact for artifact in run.artifacts if artifact.type == "model"]
    aliases = {alias for artifact in models for alias in artifact.aliases}
    assert aliases == {"best", "last", "latest"}
    assert {artifact.name for artifact in models} == {"hico_full"}
    for artifact in models:
        files = {entry.path for entry in artifact.manifest.contents}
        assert {"checkpoint.ckpt", "weights/config.yaml", "weights/model.safetensors"} <= files
    metadata = json.loads(next(each for each in models if "last" in each.aliases).metadata)
    assert {"test/map_full", "step"} <= metadata.keys()
    assert metadata["step"] == 8

    checkpoint = out / "checkpoints" / "last.ckpt"
    more = tmp_path / "more"
    more.mkdir()
    train.run(configured(hico, more, *wandb, "trainer.max_epochs=3", "test=false", f"ckpt_path={checkpoint}"))
    (resumed,) = offline_runs(more)
    assert resumed.run.run_id == run.run.run_id == utils.logger_ids(str(checkpoint))["wandb"]
    assert resumed.column("progress/images")[0] == 18.0


@pytest.mark.slow
def test_failed_training_ends_its_run_as_failed(tmp_path, monkeypatch):
    hico = write_hico(tmp_path, scenes={"train": even_scenes("train", 4), "test": even_scenes("test", 2)})
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr("pytorch_lightning.Trainer.fit", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("broken")))
    with pytest.raises(RuntimeError, match="broken"):
        train.run(configured(hico, out, "logger=wandb", "logger.wandb.offline=true"))
    (run,) = offline_runs(out)
    assert run.exit_code == 1


@pytest.mark.slow
def test_logging_changes_no_weights(tmp_path):
    hico = write_hico(tmp_path, scenes={"train": even_scenes("train", 8), "test": even_scenes("test", 5)})
    states = []
    for name, options in {
        "plain": ["logger=none", "callbacks.pictures=null", "callbacks.speed=null", "callbacks.evaluation_report=null"],
        "wandb": ["logger=wandb", "logger.wandb.offline=true"],
    }.items():
        out = tmp_path / name
        out.mkdir()
        train.run(configured(hico, out, *options, "trainer.max_epochs=2", "test=false"))
        states.append(torch.load(out / "checkpoints" / "last.ckpt", weights_only=True))
    first, second = (state["state_dict"] for state in states)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(states[0]["random_states"][0]["torch"], states[1]["random_states"][0]["torch"])
    assert states[0]["random_states"][0]["python"] == states[1]["random_states"][0]["python"]
