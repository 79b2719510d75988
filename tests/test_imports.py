"""Who may import whom (CONTRIBUTING.md), and calls that the project does without."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rlipv2"

# A part is a sub-package or a module directly under rlipv2/.
ALLOWED = {
    "structures": {"ops"},
    "ops": set(),
    "layers": {"ops", "structures"},
    "models": {"layers", "ops", "structures"},
    "losses": {"ops", "structures"},
    "metrics": {"ops", "structures"},
    "vocabularies": {"structures", "ops"},
    "transforms": {"structures", "ops"},
    "datasets": {"vocabularies", "structures", "ops"},
    "pages": {"ops"},
    "pseudo_labels": {"datasets", "models", "pages", "visualize", "vocabularies", "structures", "ops"},
    "datamodules": {"datasets", "transforms", "structures", "ops", "vocabularies", "pseudo_labels"},
    "tasks": {"models", "losses", "metrics", "structures", "checkpoints", "pseudo_labels"},
    "checkpoints": {"models", "ops", "transforms", "structures"},
    "predict": {"checkpoints", "models", "transforms", "vocabularies", "visualize", "pages", "structures", "ops"},
    "export": {"predict", "layers", "models", "structures", "ops"},
    "microworld": {"vocabularies", "structures", "ops"},
    "visualize": {"structures", "ops"},
    "dashboard": {"ops"},
    "callbacks": {"dashboard", "visualize", "structures", "ops", "pseudo_labels", "pages", "metrics"},
    "utils": set(),
}
# Inside functions only: `from_pretrained` and `save_pretrained` belong to the detector, reading folders does not.
LATE = {
    "rlipv2/models/pretrained.py": {"rlipv2.checkpoints"},
}
# Entry points may import anything: `__main__.py` and `cli.py` files, rlipv2/__init__.py and these parts.
ENTRY_POINTS = {"parity", "labelling", "demo"}
FRAMEWORKS = {
    "pytorch_lightning": {"tasks", "datamodules", "callbacks", "utils"},
    "hydra": {"utils", "checkpoints"},
    "lightning": set(),  # the project uses pytorch_lightning; mixing both breaks isinstance checks
}
# `pickle.loads` of what the same process dumped is how tests stand in for loader workers.
EXECUTING = {"eval", "exec", "pickle.load", "pickle.Unpickler", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def is_entry_point(path: Path) -> bool:
    return path.name in ("__main__.py", "cli.py") or path == PACKAGE / "__init__.py" or part(path) in ENTRY_POINTS


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imported(path: Path) -> Iterator[str]:
    """Full names of the imported modules, wherever in the file the import stands, but for those of LATE."""
    tree = parsed(path)
    at_top = set(modules_of(path, [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]))
    late = LATE.get(relative(path), set()) - at_top
    return (name for name in modules_of(path, ast.walk(tree)) if name not in late)


def modules_of(path: Path, nodes: Iterable[ast.AST]) -> Iterator[str]:
    package = module_name(path).split(".") if path.name == "__init__.py" else module_name(path).split(".")[:-1]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if base.split(".")[0] == "rlipv2" and is_module(full) else base


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Calls of plain and dotted names, such as `torch.load`."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            yield f"{owner.id if isinstance(owner, ast.Name) else '...'}.{node.func.attr}", node


def repository_python() -> list[Path]:
    folders = ("rlipv2", "tests", "benchmarks")
    return sorted([*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))])


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def ordinary_sources() -> list[Path]:
    return [path for path in sources() if not is_entry_point(path)]


def test_every_part_has_a_rule() -> None:
    assert {part(path) for path in ordinary_sources()} - ALLOWED.keys() == set()


def test_parts_import_only_what_they_may() -> None:
    for path in ordinary_sources():
        names = list(imported(path))
        assert "rlipv2" not in names, f"{path}: rlipv2/__init__.py imports this part; import the defining module"
        used = {name.split(".")[1] for name in names if name.startswith("rlipv2.")} - {part(path)}
        assert used <= ALLOWED[part(path)], f"{path}: may import {sorted(ALLOWED[part(path)])}"


def test_frameworks_stay_in_their_parts() -> None:
    for path in ordinary_sources():
        roots = {name.split(".")[0] for name in imported(path)}
        misplaced = {name for name in roots & FRAMEWORKS.keys() if part(path) not in FRAMEWORKS[name]}
        assert not misplaced, path


def test_no_import_cycles() -> None:
    graph = {
        module_name(path): {name for name in imported(path) if name.startswith("rlipv2.")} - {module_name(path)}
        for path in sources()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name in done or name not in graph:
            return
        for other in graph[name]:
            visit(other, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())
    assert done == graph.keys()


def test_nothing_read_from_a_file_is_executed() -> None:
    for path in repository_python():
        for name, node in calls(path):
            place = f"{relative(path)}:{node.lineno}: {name}"
            assert name not in EXECUTING, place
            constants = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
            if name == "torch.load":
                assert constants.get("weights_only") is True, f"{place} without weights_only=True"
            assert constants.get("allow_pickle") is not True, f"{place} of pickles"
