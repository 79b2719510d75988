import inspect
from pathlib import Path

import hydra
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import evaluate
import train
from rlipv2 import utils

CONF = Path(__file__).parents[1] / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def composed(*overrides, name="train"):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, overrides=list(overrides))


def options(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_binds_to_its_constructors(experiment):
    config = composed(f"experiment={experiment}")
    utils.check_config(config)
    nodes = dict(utils.constructor_nodes(OmegaConf.to_container(config, resolve=False)))
    assert {"model", "model.detector", "model.criterion", "data", "trainer"} <= nodes.keys()


@pytest.mark.parametrize(
    "override",
    [
        f"{group}={option}"
        for group in ("trainer", "logger", "callbacks", "debug", "backbone", "fusion")
        for option in options(group)
        if option != "tiny_detection"  # of the object detectors, see below
    ],
)
def test_every_option_of_a_group_binds(override):
    utils.check_config(composed(override))


@pytest.mark.parametrize("model", options("model"))
@pytest.mark.parametrize("backbone", ["resnet50", "swin_tiny", "swin_large", "tiny"])
def test_models_and_backbones_combine(model, backbone):
    detection = model.startswith("object")
    if detection and backbone == "tiny":
        backbone = "tiny_detection"
    data = "coco_detection" if detection else "vg_tagger" if model == "rlipv2_tagger" else "hico"
    utils.check_config(composed(f"model={model}", f"backbone={backbone}", f"data={data}"))


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        ("hico_full", True),
        ("rlip_vg", True),
        ("micro_fewshot_1pct", True),
        ("hico_full model.init=weights/rlipv2_parseda_resnet50_vg_coco_o365", True),
        ("micro_fewshot_1pct model.init=run:micro_fewshot_1pct", False),
        ("micro_fewshot_1pct ckpt_path=last.ckpt", False),
        ("micro_zeroshot_nf", False),
    ],
)
def test_evaluation_wants_the_result_of_a_training(overrides, refused):
    overrides = f"experiment={overrides}".split()
    config = composed(*overrides, name="evaluate")
    if refused:
        with pytest.raises(utils.ConfigError, match="is what this experiment starts from, not its result"):
            evaluate.require_result(config, overrides)
    else:
        evaluate.require_result(config, overrides)


def test_evaluation_wants_something_to_evaluate():
    with pytest.raises(utils.ConfigError, match="nothing to evaluate"):
        evaluate.require_result(composed("experiment=od_coco", name="evaluate"), [])


@pytest.mark.parametrize("debug", options("debug"))
def test_debug_runs_are_not_taken_for_real_ones(debug, tmp_path):
    config = composed("experiment=rlip_vg", f"debug={debug}", f"paths.logs={tmp_path}")
    file = Path(config.paths.runs) / "first/weights/model.safetensors"
    file.parent.mkdir(parents=True)
    file.touch()
    assert utils.newest_weights(tmp_path, "rlip_vg") is None
    assert file.parents[1].parent != Path(composed("experiment=rlip_vg", f"paths.logs={tmp_path}").paths.runs)


@pytest.mark.parametrize("devices", [2, -1, "auto"])
def test_sweeps_do_not_start_processes_of_their_own(devices, monkeypatch):
    for name in ("LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    config = composed(f"trainer.devices={devices}")
    with pytest.raises(utils.ConfigError, match=rf"trainer.devices={devices} in a sweep"):
        train.check_sweep(config)
    train.check_sweep(composed())
    monkeypatch.setenv("SLURM_PROCID", "0")
    train.check_sweep(config)


def test_evaluation_does_not_train():
    config = composed(name="evaluate")
    assert (config.train, config.test) == (False, True)


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if name.startswith("hico_")])
def test_published_recipes_use_nothing_beyond_the_paper(experiment):
    config = composed(f"experiment={experiment}")
    assert config.model.dense_steps == 0
    assert not config.model.detector.get("dense")
    assert not config.model.detector.get("denoising")
    assert config.model.detector.queries.get("anchors", "normal") == "normal"


def test_zero_shot_evaluation_keeps_pairs_whose_subject_is_a_person():
    config = composed("experiment=hico_zeroshot_nf")
    assert config.model.postprocess.subject_filter
    assert not config.train
    assert config.model.detector.subject_class
    assert config.model.detector.queries.num_pairs == 100


@pytest.mark.parametrize(
    ("experiment", "key", "value"),
    [
        ("hico_fewshot_1pct", "few_shot_percent", 1),
        ("hico_fewshot_10pct", "few_shot_percent", 10),
        ("hico_uc_rf", "zero_shot", "uc_rf"),
        ("hico_uc_nf", "zero_shot", "uc_nf"),
        ("hico_full", "subject_label", 1),
        ("hico_full", "few_shot_percent", None),
    ],
)
def test_regimes_reach_the_data(experiment, key, value):
    assert composed(f"experiment={experiment}").data[key] == value


def test_misspelt_key_of_a_node_names_the_nearest_argument():
    config = composed("+model.lr_drops=3")
    with pytest.raises(utils.ConfigError, match=r"model.lr_drops: .*RelationDetectionTask takes no .* 'lr_ratios'"):
        utils.check_config(config)


def test_missing_argument_is_named():
    config = composed("~data.root")
    with pytest.raises(utils.ConfigError, match=r"data: rlipv2.datamodules.HICODetDataModule needs root"):
        utils.check_config(config)


def test_unknown_target_is_named():
    config = composed("data._target_=rlipv2.datamodules.HICO")
    with pytest.raises(utils.ConfigError, match=r"data._target_=rlipv2.datamodules.HICO: cannot be imported"):
        utils.check_config(config)


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("trainer.max_epoch=3", "did you mean 'trainer.max_epochs'?"),
        ("data.batchsize=3", "did you mean 'data.batch_size'?"),
        ("modle.lr=3", "did you mean 'model.lr'?"),
        ("tranier=cpu", "did you mean 'trainer'?"),
        ("experiment=hico_ful", "did you mean 'hico_full'?"),
        ("backbone=tinny", "did you mean 'tiny'?"),
        ("seeds=3", "did you mean 'seed'?"),
        ("data.train_transform.flip=0.3", "write +data.train_transform.flip=..."),
        ("data.train_transform.flipp=0.3", "did you mean 'data.train_transform.flip'?"),
    ],
)
def test_misspelt_overrides_name_the_nearest_key(override, hint):
    hints = utils.override_hints(["seed=1", override], str(CONF), "train")
    assert len(hints) == 1
    assert hint in hints[0]


def test_command_line_ends_with_the_hint_and_no_traceback(monkeypatch, capsys):
    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
    def main(config):
        raise AssertionError("composed although a key is misspelt")

    monkeypatch.setattr("sys.argv", ["train.py", "trainer.max_epoch=3"])
    with pytest.raises(SystemExit) as stopped:
        utils.run(main, str(CONF), "train")
    message = str(stopped.value)
    assert "Could not override 'trainer.max_epoch'" in message
    assert message.endswith("trainer.max_epoch: did you mean 'trainer.max_epochs'?")


def test_keyword_arguments_are_followed_to_the_base_class():
    named, open_ended = utils.accepted_arguments(hydra.utils.get_class("rlipv2.datamodules.HICODetDataModule"))
    assert {"root", "few_shot_percent", "batch_size", "cache"} <= named.keys()
    assert not open_ended
    assert named["root"].default is inspect.Parameter.empty


def test_resume_auto_takes_the_newest_last_checkpoint(tmp_path):
    assert utils.checkpoint_to_resume("auto", None, tmp_path / "no runs yet") is None
    for time, run in enumerate(("b", "a")):
        file = tmp_path / run / "checkpoints" / "last.ckpt"
        file.parent.mkdir(parents=True)
        file.touch()
        import os

        os.utime(file, (time, time))
    assert utils.checkpoint_to_resume("auto", None, tmp_path) == str(tmp_path / "a" / "checkpoints" / "last.ckpt")


def test_missing_checkpoint_and_unknown_resume_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"ckpt_path=.*nothing.ckpt: no such file"):
        utils.checkpoint_to_resume(None, str(tmp_path / "nothing.ckpt"), tmp_path)
    with pytest.raises(ValueError, match="resume='yes': expected 'auto' or null"):
        utils.checkpoint_to_resume("yes", None, tmp_path)


def raised(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_errors_raised_on_purpose_are_plain_and_others_keep_their_traceback(tmp_path):
    ours = raised(utils.checkpoint_to_resume, "yes", None, tmp_path)
    assert utils.plain_message(ours) == "resume='yes': expected 'auto' or null; a certain file goes into ckpt_path=..."
    assert utils.plain_message(raised(int, "abc")) is None  # from outside this project
    assert utils.plain_message(raised(utils.nearest, 3, [None])) is None  # a mistake of ours: TypeError


def test_errors_of_constructors_name_the_node():
    config = OmegaConf.create({"gate": {"_target_": "rlipv2.layers.gating.Gate", "dim": 8, "gating": "glipp"}})
    message = utils.plain_message(raised(hydra.utils.instantiate, config))
    assert message.startswith("gate: gating='glipp': expected one of")


def test_a_checkpoint_cut_off_is_refused_by_name(tmp_path):
    file = tmp_path / "last.ckpt"
    file.write_bytes(b"PK\x03\x04 the beginning of a checkpoint")
    with pytest.raises(ValueError, match=r"last.ckpt: not a whole checkpoint \(cut off\?\)"):
        utils.checkpoint_to_resume(None, str(file), tmp_path)


def test_the_log_of_an_earlier_start_is_kept(tmp_path):
    utils.keep_log(tmp_path)  # nothing there yet
    (tmp_path / "csv").mkdir()
    for number in (1, 2):
        (tmp_path / "csv/metrics.csv").write_text(str(number))
        utils.keep_log(tmp_path)
    assert {path.name: path.read_text() for path in (tmp_path / "csv").iterdir()} == {
        "metrics_1.csv": "1",
        "metrics_2.csv": "2",
    }


def test_pre_training_refuses_the_corpus_of_fine_tuning():
    train.check_corpus("full", ["corpus=vg"])
    train.check_corpus("rlip", ["experiment=rlip_vg", "detection_corpus=coco"])
    with pytest.raises(utils.ConfigError, match=r"corpus=vg_coco: .*experiment=rlip_vg_coco, or by data=vg_coco"):
        train.check_corpus("rlip", ["experiment=rlip_vg", "corpus=vg_coco"])
