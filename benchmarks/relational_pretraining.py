"""What relational pre-training is worth on the micro-world: mean and spread over seeds, with it and without.

Per seed: detection pre-training, relational pre-training from its weights, then the generated HICO-DET test images
without fine-tuning and after fine-tuning on 1 % of the training images, from each of the weights. Every stage is an
ordinary run of `train.py` below `--logs`; stages that are there already are not run again.

    python benchmarks/relational_pretraining.py --seeds 0 1 2
    python benchmarks/relational_pretraining.py --seeds 0 1 2 --arms vg vg_coco

`vg_coco` adds the images in the layout of COCO with the relations that `pseudo_label.py` finds there, by a tagger
trained on the images in the layout of Visual Genome; tagger and labels are made once for all seeds. It takes as many
steps as `vg` (750), `vg_coco_epochs` as many epochs (1,650 steps), as the published pre-trainings do, and `vg_long` as
many steps as that on Visual Genome alone. `no_rql`, `no_rpl`, `rpl_detached`, `no_lse`: `vg` with another `loss=`.
One seed takes about ten minutes on two quiet CPU cores, four more with every further arm, eight with a long one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIGURES = {"micro_zeroshot_nf": "no fine-tuning", "micro_fewshot_1pct": "1 %"}
ABLATIONS = ("no_rql", "no_rpl", "rpl_detached", "no_lse")
PRETRAINING = {
    "vg": "micro_rlip",
    "vg_long": "micro_rlip",
    "vg_coco": "micro_rlip_coco",
    "vg_coco_epochs": "micro_rlip_coco",
} | dict.fromkeys(ABLATIONS, "micro_rlip")
OWN = {"vg_long": ("trainer.max_epochs=13",), "vg_coco_epochs": ("trainer.max_epochs=6",)} | {
    name: (f"loss={name}",) for name in ABLATIONS
}
"""Overrides of an arm."""
TAGGER = ("trainer.max_epochs=24", "model.dense_steps=1000")
QUIET = (
    "callbacks.progress_bar=null",
    "callbacks.model_summary=null",
    "trainer.enable_progress_bar=false",
    "print_config=false",
)


def run(experiment: str, folder: Path, *, seed: int, data: Path, init: Path | None, overrides: Sequence[str]) -> Path:
    """The folder of a finished run of an experiment; runs it if it is not there."""
    options = [f"experiment={experiment}", *QUIET, f"seed={seed}", *overrides]
    return finished(folder, "train.py", data, [*options, *([] if init is None else [f"model.init={init}"])])


def finished(folder: Path, script: str, data: Path, options: Sequence[str]) -> Path:
    """The folder of a finished command; runs it if it is not there."""
    done = folder / "done.json"
    if not done.is_file():
        places = [f"paths.data={data}", f"paths.logs={folder}", f"hydra.run.dir={folder}"]
        print(f"{folder}: {script} {options[0]}", flush=True)
        started = time.perf_counter()
        with (folder.parent / f"{folder.name}.log").open("w") as log:
            command = [sys.executable, str(ROOT / script), *options, *places]
            subprocess.run(command, cwd=ROOT, env=os.environ, stdout=log, stderr=subprocess.STDOUT, check=True)
        done.write_text(json.dumps({"seconds": time.perf_counter() - started}))
    return folder


def pseudo_labels(logs: Path, *, data: Path) -> Path:
    """The relations of the images in COCO's layout, by a tagger that is trained on Visual Genome's layout."""
    tagger = run("micro_tagger", logs / "tagger", seed=42, data=data, init=None, overrides=TAGGER)
    options = [
        "pseudo_label=micro",
        "parser=rules",
        f"tagger.init={tagger / 'weights'}",
        f"out={logs / 'pseudo_labels'}",
    ]
    return (
        finished(logs / "pseudo_labels", "pseudo_label.py", data, options) / "annotations" / "pseudo_label_micro.json"
    )


def chain(logs: Path, *, seed: int, data: Path, arms: Sequence[str], overrides: Sequence[str]) -> dict[str, Path]:
    """Runs all stages of a seed; folders of the runs by "arm/experiment"."""
    base = logs / f"seed{seed}"
    base.mkdir(parents=True, exist_ok=True)
    common = {"seed": seed, "data": data, "overrides": overrides}
    weights = {"none": run("micro_od", base / "micro_od", init=None, **common) / "weights"}
    for arm in arms:
        folder = base / (f"{PRETRAINING[arm]}_{arm}" if arm in OWN else PRETRAINING[arm])
        own = [*overrides, *OWN.get(arm, ())]
        if PRETRAINING[arm] == "micro_rlip_coco":
            own.append(f"data.corpora.coco.annotations={pseudo_labels(logs, data=data)}")
        options = common | {"overrides": own}
        weights[arm] = run(PRETRAINING[arm], folder, init=weights["none"], **options) / "weights"
    return {
        f"{arm}/{experiment}": run(
            experiment, base / f"{experiment}_{arm}", init=folder, **_fewshot(common, experiment)
        )
        for arm, folder in weights.items()
        for experiment in FIGURES
    }


def _fewshot(common: dict, experiment: str) -> dict:
    """Another draw of the images for every seed."""
    if experiment != "micro_fewshot_1pct":
        return common
    return common | {"overrides": [*common["overrides"], f"data.few_shot_seed={common['seed']}"]}


def figure(folder: Path, key: str = "test/map_full") -> float:
    """A figure of a run, in per cent."""
    return 100 * json.loads((folder / "metrics.json").read_text())[key]


def main() -> None:
    """Prints a row per pre-training and setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=["vg"], choices=sorted(PRETRAINING))
    parser.add_argument("--logs", type=Path, default=Path("logs/relational_pretraining"))
    parser.add_argument("--data", type=Path, default=Path("data"), help="where the worlds are generated")
    parser.add_argument("overrides", nargs="*", help="further overrides of all stages")
    options = parser.parse_args()
    folders = {
        seed: chain(
            options.logs.resolve(),
            seed=seed,
            data=options.data.resolve(),
            arms=options.arms,
            overrides=options.overrides,
        )
        for seed in options.seeds
    }
    print(f"\n{'pre-training':14s} {'setting':16s} {'mAP':>6s} {'spread':>7s}   seeds {options.seeds}")
    for arm in ("none", *options.arms):
        for experiment, setting in FIGURES.items():
            values = [figure(folders[seed][f"{arm}/{experiment}"]) for seed in options.seeds]
            spread = statistics.stdev(values) if len(values) > 1 else float("nan")
            each = "  ".join(f"{value:.1f}" for value in values)
            print(f"{arm:14s} {setting:16s} {statistics.mean(values):6.1f} {spread:7.1f}   {each}")


if __name__ == "__main__":
    main()
