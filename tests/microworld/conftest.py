from collections.abc import Callable
from pathlib import Path

import pytest

from rlipv2 import microworld
from rlipv2.microworld import write_hico


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """A small world, written once per process; tests must not change it."""
    root = tmp_path_factory.mktemp("microworld") / "hico"
    return write_hico(root, num_train=16, num_test=12, size=(128, 144), workers=1, progress=False)


@pytest.fixture(scope="session")
def layout(tmp_path_factory) -> Callable[[str], Path]:
    """The same small world in any layout, each written when it is first asked for; tests must not change it."""
    root = tmp_path_factory.mktemp("layouts")

    def write(name: str) -> Path:
        writer = getattr(microworld, f"write_{name}")
        return writer(root / name, num_train=16, num_test=12, size=(128, 144), workers=1, progress=False)

    return write
