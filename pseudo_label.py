"""Relations for images with boxes: captions, their scene graphs, candidates, Relation Tagger, annotations, report.

`python pseudo_label.py pseudo_label=coco tagger.init=FOLDER` (`run:tagger_vg` for the newest run of that experiment);
the same again goes on where it ended. Parts of it: `stages=[caption,parse]`, one of 16 jobs: `stages=[tag] job.index=2
job.count=16`, how far it is: `stages=[status]`.
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from rlipv2 import utils
from rlipv2.labelling import Run, quieten
from rlipv2.pseudo_labels.workers import exit_on_sigterm

CONFIG_PATH = str(Path(__file__).parent / "conf")


@hydra.main(version_base="1.3", config_path="conf", config_name="pseudo_label")
def main(config: DictConfig) -> None:
    """The entry point."""
    exit_on_sigterm()
    quieten()
    utils.check_config(config)
    if config.print_config:
        utils.print_config(config)
    Run(config)()


if __name__ == "__main__":
    utils.run(main, CONFIG_PATH, "pseudo_label")
