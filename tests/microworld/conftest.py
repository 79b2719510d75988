from pathlib import Path

import pytest

from rlipv2.microworld import write_hico


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """A small world, written once per process; tests must not change it."""
    root = tmp_path_factory.mktemp("microworld") / "hico"
    return write_hico(root, num_train=16, num_test=12, size=(128, 144), workers=1, progress=False)
