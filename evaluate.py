"""Evaluates a checkpoint or a weight folder on the test split.

`python evaluate.py experiment=hico_full ckpt_path=logs/hico_full/.../checkpoints/last.ckpt`, or with weights:
`python evaluate.py experiment=hico_zeroshot_nf model.init=weights/rlipv2_parseda_resnet50_vg_coco_o365`.
"""

from collections.abc import Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import train
from rlipv2 import utils


def require_result(config: DictConfig, overrides: Sequence[str]) -> None:
    """Checks that there is something to evaluate: a checkpoint, or weights other than those that training starts from.

    Args:
        config: as composed.
        overrides: of the command line.

    Raises:
        ConfigError: there is not.
    """
    if config.ckpt_path is not None:
        return
    if config.model.init is None:
        raise utils.ConfigError("nothing to evaluate: give ckpt_path=CHECKPOINT or model.init=WEIGHT_FOLDER")
    # evaluates the pre-trained weights themselves; taggers and object detectors have no such filter
    zero_shot = OmegaConf.select(config, "model.postprocess.subject_filter", default=False)
    given = any(override.lstrip("+").startswith("model.init=") for override in overrides)
    if not zero_shot and (not given or config.model.init == config.paths.rlip):
        raise utils.ConfigError(
            f"model.init={config.model.init} is what this experiment starts from, not its result: give "
            "ckpt_path=CHECKPOINT or model.init=WEIGHT_FOLDER of the trained model"
        )


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(config: DictConfig) -> float | None:
    """The entry point."""
    require_result(config, HydraConfig.get().overrides.task)
    train.describe_run(config, HydraConfig.get())
    return train.run(config)


if __name__ == "__main__":
    utils.run(main, train.CONFIG_PATH, "evaluate")
