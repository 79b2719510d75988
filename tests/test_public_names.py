"""`from rlipv2 import ...`: every public name, and nothing imported before it is needed."""

import subprocess
import sys

import pytest

import rlipv2


@pytest.mark.parametrize("name", rlipv2.__all__)
def test_public_name_comes_from_the_package(name: str) -> None:
    assert getattr(rlipv2, name).__module__.startswith("rlipv2.")


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, rlipv2; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(AttributeError, match="no attribute 'RelationDetektor'"):
        _ = rlipv2.RelationDetektor  # type: ignore[attr-defined]
