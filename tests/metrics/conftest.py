"""Cases shared by the tests of the metrics."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.metrics.hico_cases import SynthCase
from tests.metrics.oi_cases import OpenImagesCase
from tests.metrics.vcoco_cases import DevCase


@pytest.fixture(scope="session")
def synth() -> SynthCase:
    return SynthCase.generate()


@pytest.fixture(scope="session")
def synth_files(synth: SynthCase, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Prediction and ground-truth file of the recorded case; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("synth")
    np.savez(folder / "predictions.npz", **synth.prediction_arrays)
    np.savez(folder / "ground_truth.npz", **synth.truth)
    return folder / "predictions.npz", folder / "ground_truth.npz"


@pytest.fixture(scope="session")
def vcoco_dev() -> DevCase:
    return DevCase.generate()


@pytest.fixture(scope="session")
def vcoco_files(vcoco_dev: DevCase, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Prediction and ground-truth file of the recorded V-COCO case; not to be changed by a test."""
    return vcoco_dev.save(tmp_path_factory.mktemp("vcoco"))


@pytest.fixture(scope="session")
def vcoco_few(vcoco_dev: DevCase) -> DevCase:
    """The first 40 images, where no recorded result is needed."""
    return vcoco_dev.head(40)


@pytest.fixture(scope="session")
def few_files(vcoco_few: DevCase, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Their files; not to be changed by a test."""
    return vcoco_few.save(tmp_path_factory.mktemp("vcoco_few"))


@pytest.fixture(scope="session")
def golden_eval_dir() -> Path:
    """Folder with results recorded on real annotations, which are not part of this repository."""
    folder = os.environ.get("RLIPV2_GOLDEN_EVAL_DIR")
    if not folder:
        pytest.skip("set RLIPV2_GOLDEN_EVAL_DIR to the folder with hico_test_gt.npz and hico_dev200.json")
    return Path(folder)


@pytest.fixture(scope="session")
def oi_dev() -> OpenImagesCase:
    return OpenImagesCase.generate()


@pytest.fixture(scope="session")
def oi_files(oi_dev: OpenImagesCase, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Prediction and ground-truth file of the recorded case; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("oi")
    np.savez(folder / "predictions.npz", **oi_dev.prediction_arrays)
    np.savez(folder / "ground_truth.npz", **oi_dev.truth)
    return folder / "predictions.npz", folder / "ground_truth.npz"
