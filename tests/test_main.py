import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from rlipv2.__main__ import COMMANDS, EXTRAS, main

HEAVY = ("torch", "torchvision", "transformers", "pytorch_lightning", "matplotlib", "gradio", "wandb", "onnx", "av")


def test_help_lists_every_command_with_one_line(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, command in COMMANDS.items():
        assert sum(line.split(None, 1) == [name, command.help] for line in lines) == 1
    assert max(map(len, lines)) <= 120


def test_no_arguments_print_the_help(capsys):
    assert main([]) == 0
    assert "predict" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"]])
def test_help_imports_nothing_heavy_and_is_quick(arguments):
    program = (
        "import sys; from rlipv2.__main__ import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"
    assert time.perf_counter() - started < 5  # 0.1 to 0.2 s on a quiet machine


@pytest.mark.parametrize(("typed", "meant"), [("pradict", "predict"), ("metric", "metrics"), ("dataset", "datasets")])
def test_an_unknown_command_names_the_nearest(typed, meant, capsys):
    assert main([typed]) == 2
    assert f"no command {typed!r}; did you mean {meant!r}?" in capsys.readouterr().err


def test_a_command_unlike_all_others_names_them_all(capsys):
    assert main(["zzzz"]) == 2
    assert ", ".join(COMMANDS) in capsys.readouterr().err


def test_the_commands_are_those_of_the_modules(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as stopped:
            main([name, "--help"])
        assert stopped.value.code == 0
        assert "usage:" in capsys.readouterr().out


def test_the_exit_status_of_the_command_is_returned(tmp_path, capsys):
    assert main(["check", "hico", str(tmp_path)]) == 1
    assert main(["parity", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("package", sorted(EXTRAS))
def test_a_missing_package_names_the_extra_that_brings_it(package, monkeypatch, capsys):
    def broken(arguments):
        raise ModuleNotFoundError(f"No module named '{package}'", name=f"{package}.part")

    monkeypatch.setattr("rlipv2.metrics.__main__.main", broken)
    assert main(["metrics"]) == 2
    assert f"needs the package {package}" in (message := capsys.readouterr().err)
    assert f"'.[{EXTRAS[package]}]'" in message


def test_a_missing_package_of_the_project_itself_is_not_hidden(monkeypatch):
    def broken(arguments):
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    monkeypatch.setattr("rlipv2.metrics.__main__.main", broken)
    with pytest.raises(ModuleNotFoundError):
        main(["metrics"])


def test_modules_are_commands_of_their_own_too():
    for part in ("parity", "metrics", "datasets", "checkpoints"):
        assert find_spec(f"rlipv2.{part}.__main__")
    done = subprocess.run([sys.executable, "-m", "rlipv2.parity", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
