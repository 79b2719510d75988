"""What the documents name exists: files, links, experiments, options."""

import argparse
import ast
import json
import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import hydra
import pytest
import yaml

from rlipv2.utils import check_config
from tests.test_imports import ALLOWED, ENTRY_POINTS, LATE

ROOT = Path(__file__).parents[1]
PLACES = ("*.md", "docs/*.md", "benchmarks/*.md", "data/*.md")
DATASETS = [
    ROOT / "data" / name for name in re.findall(r"\]\((\S+/README\.md)\)", (ROOT / "data/README.md").read_text())
]
DOCUMENTS = sorted([*(path for place in PLACES for path in ROOT.glob(place)), *DATASETS])


def file_tree() -> dict[str, str]:
    """Path and line of every entry in the tree of README.md."""
    block = (ROOT / "README.md").read_text().split("## Files")[1].split("```")[1]
    entries, folder = {}, ""
    for line in block.strip("\n").splitlines():
        if not line.startswith(" ") and line.endswith("/"):
            folder = line
        else:
            name, text = re.split(r"\s{2,}", line.strip(), maxsplit=1)
            entries[(folder if line.startswith(" ") else "") + name] = text
    return entries


def test_the_tree_of_the_readme_has_every_folder() -> None:
    """Single modules of a folder are not listed: their first line tells what they hold."""
    packages = {f"{path.parent.relative_to(ROOT)}/" for path in (ROOT / "rlipv2").rglob("__init__.py")}
    modules = {str(path.relative_to(ROOT)) for path in [*(ROOT / "rlipv2").glob("*.py"), *ROOT.glob("*.py")]}
    inner = {name for name in packages if name.count("/") > 3}  # a folder inside the folder of one dataset
    assert packages - inner - {"rlipv2/"} - file_tree().keys() == set()
    assert modules - {"rlipv2/__init__.py"} - file_tree().keys() == set()


def test_everything_in_the_tree_exists() -> None:
    for entry in file_tree():
        first, *others = entry.split(", ")
        paths = [first, *(f"{Path(first).parent}/{other}" for other in others)]
        assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_to_sections_lead_somewhere(document: Path) -> None:
    for target, section in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", document.read_text()):
        text = (document.parent / target if target else document).read_text()
        headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
        names = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert section in names, f"{target}#{section}: expected one of {sorted(names)}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_experiments_in_documents_exist(document: Path) -> None:
    named = set(re.findall(r"experiment=([a-z]\w*)", document.read_text()))
    assert named <= {path.stem for path in (ROOT / "conf/experiment").glob("*.yaml")}


def test_every_experiment_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    names = {path.stem for path in (ROOT / "conf/experiment").glob("*.yaml")}
    assert {name for name in names if name not in text} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_imported_in_examples_exist(document: Path) -> None:
    for example in re.findall(r"```python\n(.*?)```", document.read_text(), flags=re.DOTALL):
        for node in ast.walk(ast.parse(example)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rlipv2"):
                module = __import__(node.module, fromlist=["_"])
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_the_import_table_is_the_one_that_is_enforced() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rules: dict[str, set[str]] = {}
    for row in text.split("## Who may import whom")[1].split("\n## ")[0].splitlines():
        if row.startswith("| `"):
            parts, others = (set(re.findall(r"`([^`]+)`", cell)) for cell in row.strip("| ").split(" | "))
            rules |= dict.fromkeys(parts, others)
    entry_points = {part for part in rules if ".py" in part or part in ENTRY_POINTS | {"rlipv2"}}
    assert {part: others for part, others in rules.items() if part not in entry_points} == ALLOWED
    assert entry_points >= ENTRY_POINTS
    assert all(path.removeprefix("rlipv2/") in text for path in LATE)


def test_quirks_that_code_refers_to_are_in_the_parity_table() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "rlipv2").rglob("*.py"))
    numbers = set(re.findall(r"parity\.md, (Q\d+)", sources))
    assert len(numbers) > 5
    assert numbers <= set(re.findall(r"^\| (Q\d+) ", (ROOT / "docs/parity.md").read_text(), flags=re.MULTILINE))


def test_options_of_the_parity_table_exist() -> None:
    rows = [line for line in (ROOT / "docs/parity.md").read_text().splitlines() if line.startswith("| ")]
    options = {name for row in rows for name in re.findall(r"`([a-z_]+): ", row)}
    sources = "\n".join(path.read_text() for path in (ROOT / "rlipv2").rglob("*.py"))
    assert len(options) > 15
    assert {name for name in options if not re.search(rf"\b{name}: ", sources)} == set()


TRAINING_KEYS = "model|data|metrics|backbone|fusion"
PSEUDO_LABEL_KEYS = "source|captioner|parser|candidates|tagger|merge"


def keys_by_experiment() -> dict[str, list[str]]:
    """Keys of parity.md by the overrides they belong to.

    These stand in a line "Keys of `experiment=...`" or "Keys of `pseudo_label=...`" above a table; elsewhere they are
    those of HICO-DET.
    """
    found: dict[str, set[str]] = {}
    overrides = "experiment=hico_full"
    for line in (ROOT / "docs/parity.md").read_text().splitlines():
        if line and not line.startswith("|"):
            match = re.search(r"Keys of `((?:experiment|pseudo_label)=[^`]+)`", line)
            overrides = match[1] if match else "experiment=hico_full"
        groups = TRAINING_KEYS if overrides.startswith("experiment=") else PSEUDO_LABEL_KEYS
        keys = re.findall(rf"`(\+?(?:{groups})\.[a-z_.]+)`", line)
        found.setdefault(overrides, set()).update(keys)
    return {overrides: sorted(keys) for overrides, keys in found.items()}


def test_keys_of_the_parity_table_are_written_as_runs_take_them() -> None:
    tables = keys_by_experiment()
    assert sum(map(len, tables.values())) > 60
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for overrides, keys in tables.items():
            assert keys, f"{overrides}: no keys below the line that names it"
            # Hydra refuses `+` before a key that exists, and its absence before one that does not
            top = "train" if overrides.startswith("experiment=") else "pseudo_label"
            check_config(hydra.compose(top, [*overrides.split(), *(f"{key}=null" for key in keys)]))
        chosen = re.findall(r"`([a-z_.]+)` with `(\w+=\w+)`", (ROOT / "docs/parity.md").read_text())
        assert chosen
        for key, override in chosen:
            check_config(hydra.compose("train", ["experiment=rlip_vg", override, f"{key}=null"]))


def commands_of(document: Path) -> list[tuple[str, list[str]]]:
    """Top configuration and overrides of every `python train.py ...` and of the other two commands in a document."""
    found = re.findall(r"python (train|evaluate|pseudo_label)\.py ((?:[^`\n#|\\]|\\\n)+)", document.read_text())
    return sorted({(name, " ".join(rest.replace("\\\n", " ").split())) for name, rest in found})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_of_documents_compose(document: Path) -> None:
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for name, command in commands_of(document):
            overrides = [word.strip("'\"") for word in command.split() if "=" in word]
            if "-m" in command.split() or "--multirun" in command.split():  # the first value of each
                overrides = [re.sub(r"=([^,\[{(]*),.*", r"=\1", word) for word in overrides]
            overrides = [word for word in overrides if "..." not in word and not word.startswith(("sweep=", "hydra"))]
            if "..." not in command:  # else the experiment, which other keys belong to, is left to the reader
                check_config(hydra.compose(name, overrides))


class _ConfigLoader(yaml.SafeLoader):
    """Reads mkdocs.yml without building what its tags name."""


_ConfigLoader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


def navigation(entry: object) -> list[str]:
    """The pages of a part of the navigation, in order."""
    if isinstance(entry, str):
        return [entry]
    return [page for part in (entry.values() if isinstance(entry, dict) else entry) for page in navigation(part)]


def site_pages() -> list[str]:
    """The navigation of the site."""
    return navigation(_ConfigLoader((ROOT / "mkdocs.yml").read_text()).get_single_data()["nav"])


def test_every_page_is_in_the_navigation_once() -> None:
    pages = site_pages()
    assert len(pages) == len(set(pages))
    assert {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")} <= set(pages)
    assert {path.relative_to(ROOT).as_posix() for path in DATASETS} <= set(pages)


def test_every_entry_of_the_navigation_exists() -> None:
    def exists(page: str) -> bool:
        places = [ROOT / "docs" / page, ROOT / page, (ROOT / page).with_suffix(".ipynb")]
        return any(place.is_file() for place in places)

    assert [page for page in site_pages() if not exists(page)] == []


class _Parsed(Exception):
    """The arguments of a command are understood."""


def module_commands(document: Path) -> list[tuple[str, list[str]]]:
    """Module and arguments of every `python -m rlipv2...`; not names of commands, nor what "..." cuts short."""
    text = document.read_text().replace("\\\n", " ")
    found = re.findall(r"python -m (rlipv2(?:\.\w+)*) ([^`\n#]+)", text)
    commands = [(module, shlex.split(rest)) for module, rest in found if not re.search(r"\.\.\.|[\[|]", rest)]
    commands = [(module, words) for module, words in commands if not words[0].isupper()]  # "COMMAND" stands for any
    return [command for command in commands if not all(re.fullmatch("[a-z0-9_-]+", word) for word in command[1])]


def parse_only(parser: argparse.ArgumentParser, *args: object, **kwargs: object) -> None:
    """Parses, and ends the command instead of running it."""
    _, unknown = parser.parse_known_args(*args, **kwargs)  # type: ignore[call-overload]
    if unknown:
        parser.error(f"unknown arguments {unknown}")
    raise _Parsed


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_of_documents_are_understood(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    for module, words in module_commands(document):
        monkeypatch.setattr("sys.argv", ["prog", *words])
        with pytest.raises((_Parsed, SystemExit)) as end:
            import_module(f"{module}.__main__").main()
        understood = end.type is _Parsed or end.value.code == 0  # 0: --help
        assert understood, f"python -m {module} {' '.join(words)}: not understood"


def test_commands_of_documents_are_found() -> None:
    commands = [command for document in DOCUMENTS for command in module_commands(document)]
    assert len(commands) > 40
    assert ("rlipv2", "predict") in {(module, words[0]) for module, words in commands}


def test_a_command_with_an_option_that_does_not_exist_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    with pytest.raises(SystemExit) as error:
        import_module("rlipv2.__main__").main(["predict", "a.jpg", "--weights", "w", "--out", "o", "--objekts", "a"])
    assert error.value.code == 2


def test_yaml_and_json_of_documents_can_be_read() -> None:
    for document in DOCUMENTS:
        for language, block in re.findall(r"```(yaml|json)\n(.*?)```", document.read_text(), flags=re.DOTALL):
            (yaml.safe_load if language == "yaml" else json.loads)(block)


def test_the_backbone_of_the_page_about_extending_composes(tmp_path: Path) -> None:
    (file,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/extending.md").read_text(), flags=re.DOTALL)
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "conf/backbone/resnet101.yaml").write_text(file)
    with hydra.initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
        config = hydra.compose("train", ["experiment=hico_full", "backbone=resnet101", "model.init=null"])
    check_config(config)
    assert config.model.detector.backbone.name == "resnet101.tv_in1k"
    assert config.total_batch_size == 64


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    text = "\n".join(document.read_text() for document in DOCUMENTS)
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, flags=re.MULTILINE))
    assert named >= {"quickstart", "test", "docs", "demo"}
    assert named - targets == set()
