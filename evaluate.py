"""Evaluates a checkpoint or a weight folder on the test split.

`python evaluate.py experiment=hico_full ckpt_path=logs/hico_full/.../checkpoints/last.ckpt`, or with weights:
`python evaluate.py experiment=hico_zeroshot_nf model.init=weights/rlipv2_parseda_resnet50_vg_coco_o365`.
"""

import hydra
from omegaconf import DictConfig, OmegaConf

import train
from rlipv2 import utils


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(config: DictConfig) -> float | None:
    """The entry point."""
    # evaluates the pre-trained weights themselves; taggers and object detectors have no such filter
    zero_shot = OmegaConf.select(config, "model.postprocess.subject_filter", default=False)
    if config.ckpt_path is None and config.model.init is None:
        raise utils.ConfigError("nothing to evaluate: give ckpt_path=CHECKPOINT or model.init=WEIGHT_FOLDER")
    if config.ckpt_path is None and config.model.init == config.paths.rlip and not zero_shot:
        raise utils.ConfigError(
            f"model.init={config.model.init} is what this experiment starts from, not its result: give "
            "ckpt_path=CHECKPOINT or model.init=WEIGHT_FOLDER of the fine-tuned model"
        )
    return train.run(config)


if __name__ == "__main__":
    utils.run(main, train.CONFIG_PATH, "evaluate")
