"""The notebook runs from its first to its last cell, and is stored without outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_stored_without_outputs(notebook: Path) -> None:
    content = json.loads(notebook.read_text())
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert content["cells"][0]["source"][0].startswith("# ")  # the title of its page


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the quickstart: given, left by `make quickstart`, or of so short a training that they find nothing."""
    given = Path(os.environ.get("RLIPV2_QUICKSTART_WEIGHTS", ROOT / "logs/quickstart/weights"))
    if (given / "model.safetensors").is_file():
        return given
    folder = tmp_path_factory.mktemp("quickstart")
    short = [
        "model.dense_steps=0",
        "data.prepare.num_train=32",
        "data.prepare.num_test=8",
        "trainer.max_epochs=1",
        "trainer.enable_progress_bar=false",
    ]
    paths = [f"paths.data={folder / 'data'}", f"paths.logs={folder}"]
    command = [sys.executable, str(ROOT / "train.py"), "experiment=quickstart", *paths, *short]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    return folder / "quickstart" / "weights"


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_run(notebook: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("RLIPV2_QUICKSTART_WEIGHTS", str(weights))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    content = nbformat.read(notebook, as_version=4)
    nbformat.validate(content)
    NotebookClient(content, timeout=600, resources={"metadata": {"path": str(notebook.parent)}}).execute()
    outputs = [output for cell in content.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 3  # triplets on their picture, scene graph, comparison
    figures = next(
        output.data["text/plain"] for output in outputs if "map_triplet" in output.get("data", {}).get("text/plain", "")
    )
    assert "recall_50" in figures
    assert [output for output in outputs if output.output_type == "error"] == []
