"""Structure of the code: imports go one way, the core imports neither train, export nor benchmarks,
heavy libraries are imported in few places, files have a readable size.
"""

import ast
import re
import statistics
import subprocess
import sys

import pytest

from tests.helpers.imports import (
    MODULES,
    ORDER,
    ROOT,
    SUBPACKAGES,
    files,
    folder_of,
    imported,
    to_mermaid,
    tree_of,
)

IDS = list(MODULES)

# Only these import the library at their top; `run` on an ONNX file reaches none of torch's.
HEAVY = {
    "torch": (
        "segdeploy.models",
        "segdeploy.backends.pytorch",
        "segdeploy.backends.torch_program",
        "segdeploy.backends.torch_script",
        *SUBPACKAGES,
    ),
    "onnxruntime": (
        "segdeploy.backends.onnx_providers",
        "segdeploy.backends.onnx_runtime",
        "segdeploy.backends.onnx_session",
        *SUBPACKAGES,
    ),
    "onnx": SUBPACKAGES,
    "openvino": ("segdeploy.backends.openvino_runtime", *SUBPACKAGES),
    "matplotlib": ("segdeploy.datasets.checks.chart", *SUBPACKAGES),
    "pyogrio": ("segdeploy.imaging.map_polygons", "segdeploy.datasets.map_labels"),
    "pyvips": ("segdeploy.imaging.large",),
    "pyarrow": ("segdeploy.batch.tables",),
    "ray": ("segdeploy.batch.cluster",),
    "rasterio": (
        "segdeploy.imaging.raster",
        "segdeploy.imaging.raster_writer",
        "segdeploy.datasets.map_labels",
        *SUBPACKAGES,
    ),
    "shapely": ("segdeploy.imaging.map_polygons", "segdeploy.datasets.map_labels"),
}

VERBS = re.compile(r"(^|_)[a-z]+ing$")
NOUNS = {
    "tiling",
    "lighting",
    "drawing",
    "loading",
    "finding",
    "serving",
    "smoothing",
}
"""Names that end in -ing and are nouns of the field."""


@pytest.mark.parametrize("module", IDS)
def test_imports_go_one_way(module: str) -> None:
    """A reader of a file needs to know only what comes before it in ORDER; train, export and
    benchmarks do not import each other.
    """
    own = ORDER.index(folder_of(module))

    for name in imported(module):
        if name.split(".")[0] == "segdeploy" and folder_of(name) != folder_of(module):
            assert ORDER.index(folder_of(name)) < own, (
                f"{module} imports {name}, which does not come before it in ORDER"
            )
            subpackage = ".".join(name.split(".")[:2])
            if subpackage.removeprefix("segdeploy.") in SUBPACKAGES:
                assert module.startswith(f"{subpackage}."), (
                    f"{module} imports {name}: only {subpackage} may"
                )
        assert name.split(".")[0] not in SUBPACKAGES, (
            "a top-level name breaks as soon as a user has a file called like it"
        )


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the names of one circle, or nothing."""
    state: dict[str, int] = {}

    def walk(name: str, path: list[str]) -> list[str]:
        state[name] = 1
        for other in sorted(graph.get(name, ())):
            if state.get(other) == 1:
                return [*path[path.index(other) :], other]
            if other not in state and (found := walk(other, [*path, other])):
                return found
        state[name] = 2
        return []

    return next(
        (found for name in graph if name not in state and (found := walk(name, [name]))), []
    )


def test_no_files_import_each_other() -> None:
    """Two files in a circle are one file.

    An import inside a function hides a circle and does not break it.
    """
    graph = {
        module: (imported(module) & set(MODULES)) - {"segdeploy"}
        for module in IDS
        if module not in {"segdeploy", "segdeploy.__main__"}
    }

    assert circle(graph) == []


def test_no_folders_import_each_other() -> None:
    """A folder is read after those that it depends on."""
    graph: dict[str, set[str]] = {}
    for module in set(IDS) - {"segdeploy", "segdeploy.__main__"}:
        own = MODULES[module].parent
        for name in (imported(module) & set(MODULES)) - {"segdeploy"}:
            if MODULES[name].parent != own:
                graph.setdefault(str(own), set()).add(str(MODULES[name].parent))

    assert circle(graph) == []


@pytest.mark.parametrize("module", IDS)
def test_heavy_library_is_imported_where_it_belongs(module: str) -> None:
    """Importing torch takes seconds; running an ONNX file must not import it."""
    for library in imported(module, top=True):
        allowed = HEAVY.get(library.split(".")[0], ("segdeploy",))
        assert any(
            f"{module}.".startswith((f"{name}.", f"segdeploy.{name}.")) for name in allowed
        ), f"{module} imports {library} at its top"


def test_help_imports_neither_numpy_nor_torch() -> None:
    """`segdeploy --help` appears at once."""
    code = (
        "import sys, segdeploy.cli.main; print(sorted({'numpy', 'torch', 'cv2', 'onnxruntime',"
        " 'rich'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert done.stdout.strip() == "[]"


def test_help_of_commands_imports_no_library_of_arrays() -> None:
    """Their options stand apart from what reads images and runs networks."""
    commands = ("cli.eval", "cli.compare", "cli.serve", "cli.data", "benchmarks.command")
    modules = ", ".join(f"segdeploy.{name}" for name in commands)
    code = (
        f"import sys, {modules}; print(sorted({{'numpy', 'cv2', 'PIL', 'msgspec', 'av', 'rich'}}"
        " & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert done.stdout.strip() == "[]"


def test_no_file_is_called_like_a_library() -> None:
    """`onnx.py` in export/ would shadow the library for a program that runs in that folder."""
    taken = {
        "onnx",
        "torch",
        "torchvision",
        "numpy",
        "cv2",
        "av",
        "click",
        "rich",
        "matplotlib",
        "openvino",
        "pyvips",
        "PIL",
    }

    assert not {path.stem for path in files()} & taken


def test_files_are_concepts_of_a_readable_size() -> None:
    """One concept, one file: neither one concept in three files, nor two concepts in one."""
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for path in files()
        if path.name != "__init__.py"
    }

    # Networks are adopted from many sources and formats, each in a file of its own; Python programs
    # have a room of their own.
    assert len(lengths) <= 370
    assert statistics.median(lengths.values()) >= 130
    assert sum(length < 50 for length in lengths.values()) <= 15
    assert [path for path, length in lengths.items() if length > 400] == []


def test_files_are_named_by_nouns() -> None:
    """A reader looks for a concept, not for an action."""
    assert [path for path in files() if VERBS.search(path.stem) and path.stem not in NOUNS] == []


@pytest.mark.parametrize("module", IDS)
def test_docstrings_begin_as_the_field_writes_them(module: str) -> None:
    """A docstring says "Return ..." or what is done, not "Give" or "Tell"."""
    tree = tree_of(MODULES[module])
    documented = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    odd = [
        text
        for node in documented
        if re.match(r"(Give|Tell)s?\b", text := ast.get_docstring(node) or "")
    ]

    assert odd == []


def test_lines_are_short_enough_for_two_versions_side_by_side() -> None:
    """A review shows the old and the new line on one screen."""
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 100
    ]

    assert long == []


def test_diagram_of_the_imports_is_current() -> None:
    """`python -m tests.helpers.imports` prints what docs/architecture.md shows."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

    assert f"```mermaid\n{to_mermaid()}\n```" in page
