"""`from rlipv2 import ...`: every public name, and nothing imported before it is needed."""

import subprocess
import sys

import pytest

import rlipv2


@pytest.mark.parametrize("name", rlipv2.__all__)
def test_public_name_comes_from_the_package(name: str) -> None:
    assert getattr(rlipv2, name).__module__.startswith("rlipv2.")


def test_importing_the_package_imports_nothing_that_takes_time() -> None:
    slow = (
        "torch",
        "numpy",
        "torchvision",
        "transformers",
        "pytorch_lightning",
        "gradio",
        "wandb",
        "matplotlib",
        "PIL",
    )
    code = f"import sys, rlipv2; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(AttributeError, match="no attribute 'RelationDetektor'"):
        _ = rlipv2.RelationDetektor  # type: ignore[attr-defined]
