"""The folders of the code and the imports between them, read from the files.

`python -m tests.helpers.imports` prints them as Mermaid: the transitive reduction, without arrows
that follow from others.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUBPACKAGES = ("train", "export", "benchmarks")

ORDER = (
    "segdeploy.installation",
    "segdeploy.errors",
    "segdeploy.arrays",
    "segdeploy.system",
    "segdeploy.metrics",
    "segdeploy.card",
    "segdeploy.assets",
    "segdeploy.imaging",
    "segdeploy.models",
    "segdeploy.models.encoders",
    "segdeploy.models.networks",
    "segdeploy.backends",
    "segdeploy.datasets",
    "segdeploy.datasets.formats",
    "segdeploy.datasets.synthetic",
    "segdeploy.datasets.checks",
    "segdeploy.inference",
    "segdeploy.reports",
    "segdeploy.video",
    "segdeploy.api",
    "segdeploy",
    "segdeploy.web",
    "segdeploy.serving.engine",
    "segdeploy.serving.web",
    "segdeploy.serving.cameras",
    "segdeploy.serving.protocol.generated",
    "segdeploy.serving.protocol",
    "segdeploy.serving",
    "segdeploy.batch",
    "segdeploy.cli",
    "segdeploy.train",
    "segdeploy.export",
    "segdeploy.export.adopt",
    "segdeploy.benchmarks.results",
    "segdeploy.benchmarks.measure",
    "segdeploy.benchmarks.report",
    "segdeploy.benchmarks",
    "segdeploy.benchmarks.tuning",
    "segdeploy.benchmarks.studies",
    "segdeploy.benchmarks.release",
    "segdeploy.__main__",
)
"""A folder imports only from folders above it in this list, and from itself."""


def files() -> list[Path]:
    """Return every Python file outside the tests that is written by hand."""
    return sorted(
        path
        for top in ("segdeploy", *SUBPACKAGES)
        for path in (ROOT / top).rglob("*.py")
        if not path.name.endswith("_pb2.py")
    )


def module_of(path: Path) -> str:
    """Return the full name of a file's module; a folder's __init__ has the folder's name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "segdeploy" else ("segdeploy", *parts))


MODULES = {module_of(path): path for path in files()}


def folder_of(module: str) -> str:
    """Return the entry of ORDER that a module belongs to: the longest prefix of its name.

    Raises:
        LookupError: There is none.
    """
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if (name := ".".join(parts[:length])) in ORDER and (length > 1 or len(parts) == 1):
            return name
    msg = f"{module} is not in ORDER; add its folder there and to docs/architecture.md"
    raise LookupError(msg)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Parse a file, once."""
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(tree: ast.Module, *, top: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        if not (top and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            left.extend(ast.iter_child_nodes(node))


@functools.cache
def imported(module: str, *, top: bool = False) -> frozenset[str]:
    """Return the full names of the modules that a module imports, also lazily and for types alone.

    Args:
        module: One of MODULES.
        top: Count only what is imported when the module itself is.
    """
    path, found = MODULES[module], set()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in _imports(tree_of(path), top=top):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        base = node.module or ""
        if node.level:
            above = package.split(".")
            base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
        found |= {
            full if (full := f"{base}.{alias.name}") in MODULES else base for alias in node.names
        }
    return frozenset(found - {module})


def arrows() -> dict[str, set[str]]:
    """Return the folders that each folder imports from, without those that follow from others."""
    direct: dict[str, set[str]] = {folder: set() for folder in ORDER}
    for module in MODULES:
        for name in imported(module) & set(MODULES):
            if folder_of(name) not in (folder_of(module), "segdeploy"):
                direct[folder_of(module)].add(folder_of(name))
    reached: dict[str, set[str]] = {}
    for folder in ORDER:
        reached[folder] = direct[folder] | {
            far for near in direct[folder] for far in reached.get(near, ())
        }
    return {
        folder: {
            near
            for near in nexts
            if not any(near in reached[other] for other in nexts if other != near)
        }
        for folder, nexts in direct.items()
    }


def to_mermaid() -> str:
    """Return the folders and their arrows, the foundation at the bottom, as a Mermaid flowchart."""
    names = {folder: folder.removeprefix("segdeploy.").replace(".", "/") for folder in ORDER}
    lines = ["flowchart TD"]
    for folder in reversed(ORDER):
        if folder in ("segdeploy", "segdeploy.__main__"):
            continue
        key = names[folder].replace("/", "_")
        lines.append(f'    {key}["{names[folder]}"]')
        lines += [
            f"    {key} --> {names[near].replace('/', '_')}" for near in sorted(arrows()[folder])
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(to_mermaid())
