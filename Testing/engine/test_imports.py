"""Who may import whom, and what must not be needed to import at all."""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import skcdf

PACKAGE = Path(skcdf.__file__).parent
HOUSE_PLAN = Path(__file__).parents[2] / "docs" / "architecture.md"
TOPMOST = "commands"
LAYERS = (
    {  # what everything rests on
        *(
            "errors",
            "disk_errors",
            "resources",
            "files",
            "droppings",
            "launch",
            "ranks",
            "records",
            "progress",
            "events",
            "training_figures",
            "stop_sources",
            "run_log",
            "inside_slicer",
            "allocator",
            "device",
            "device_names",
            "geometry",
            "labels",
        ),
        *("text_table", "version_states", "verdicts"),
        *("stored_image", "nifti", "nrrd", "metaimage", "dicom", "image", "weights", "model_parts"),
        *("model_card", "organ_shapes", "plausibility"),
        *("phantom_shapes", "phantom_body", "phantom_anatomy"),
    },
    {
        *("cases", "case_record", "pool", "datasets", "models", "check", "phantom"),
        *(
            "image_hash",
            "sides",
            "lock",
            "run_folder",
            "pool_check",
            "pool_description",
            "pool_entry",
            "pool_folder",
            "pool_newcomer",
        ),
        *("model_version", "model_store"),
        *("preprocessing", "networks", "losses", "ga_losses", "metrics", "survey"),
        *("published_metrics", "protocols", "originals"),
    },
    {"methods", "plugins"},
    {"inference", "trainer"},
    set(),  # any module that is not named here: plans, pictures, tables
    {TOPMOST, "cli", "worker", "__main__"},
)
WITHOUT_TORCH = (
    *("image", "labels", "phantom", "pool", "models", "datasets", "check", "report"),
    *("model_store", "project", "comparison", "worker_client", "worker", "worker_jobs"),
    # The front door of fine-tuning watches before it imports torch, and in Slicer it never does.
    *(
        "events",
        "stop_sources",
        "run_log",
        "run_folder",
        "inside_slicer",
        "commands.finetune",
        "commands.announcer",
    ),
)
BLOCKED_BY_ALL = ("slicer", "qt", "ctk", "vtk")

BLOCK = """
import importlib, pkgutil, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
"""


def run(code: str, blocked: tuple[str, ...]) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    whole = f"blocked = {blocked!r}{BLOCK}{code}"
    return subprocess.run(
        [sys.executable, "-c", whole], env=environment, capture_output=True, text=True, timeout=120
    )


def layer(module: str) -> int:
    for number, names in enumerate(LAYERS):
        if module in names:
            return number
    return len(LAYERS) - 2


def room(path: Path) -> str:
    """The module or sub-package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def rows_of_the_house_plan() -> list[list[str]]:
    """The rooms in each row of its table, the lowest first."""
    cells = re.findall(
        r"^\| (`[^|]*) \| ", HOUSE_PLAN.read_text("utf-8").partition("## Conventions")[0], re.MULTILINE
    )
    return [re.findall(r"`(\w+)/?`", cell) for cell in cells]


@functools.cache
def rooms() -> set[str]:
    return {room(path) for path in PACKAGE.rglob("*.py")} - {"__init__"}


@functools.cache
def imported_rooms(path: Path) -> frozenset[str]:
    """Rooms of the engine that a file imports, anywhere in it but for type checking."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    package = ("skcdf", *path.relative_to(PACKAGE).parts[:-1])
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level > 0:
            base = package[: len(package) - node.level + 1]
            module = (*base, *(node.module.split(".") if node.module else ()))
            found |= {module[1]} if len(module) > 1 else {name.name for name in node.names}
    return frozenset((found & rooms()) - {room(path)})


sources = pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix()
)


@sources
def test_imports_go_one_way(path):
    own = layer(room(path))
    wrong = {name for name in imported_rooms(path) if layer(name) > own}
    assert not wrong, f"{room(path)} imports {wrong}; a new foundation belongs into LAYERS"


def test_every_room_is_in_the_house_plan_once():
    planned = [name for row in rows_of_the_house_plan() for name in row]
    assert sorted(planned) == sorted(rooms())


@sources
def test_rooms_import_their_own_row_of_the_house_plan_or_rows_above(path):
    row_of = {name: number for number, row in enumerate(rows_of_the_house_plan()) for name in row}
    own = row_of.get(room(path), -1)  # the package itself imports none
    wrong = {name for name in imported_rooms(path) if row_of[name] > own}
    assert not wrong, f"{room(path)} imports {wrong}, which the table has below it"


@sources
def test_imports_inside_the_package_are_relative(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(name.name.split(".")[0] == "skcdf" for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert (node.module or "").split(".")[0] != "skcdf"


def test_rooms_do_not_import_each_other_in_a_circle():
    graph: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        graph.setdefault(room(path), set()).update(imported_rooms(path))
    while leaves := {name for name, needs in graph.items() if not needs & graph.keys()}:
        graph = {name: needs for name, needs in graph.items() if name not in leaves}
    assert graph == {}


def test_what_slicer_itself_imports_needs_no_torch():
    blocked = ("torch", "safetensors", "nibabel", "tqdm", *BLOCKED_BY_ALL)
    code = "".join(f"import skcdf.{name}\n" for name in WITHOUT_TORCH)
    done = run(code, blocked)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_whole_engine_imports_outside_slicer_and_without_what_is_optional():
    blocked = (*BLOCKED_BY_ALL, "tqdm", "matplotlib", "PIL", "nibabel", "monai")
    code = """
import skcdf
names = [module.name for module in pkgutil.walk_packages(skcdf.__path__, "skcdf.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
    done = run(code, blocked)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40


def test_a_wheel_has_every_package_of_the_engine():
    """An editable installation, as that of the tests, finds what the list lacks all the same."""
    project = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text("utf-8"))
    folders = [path.parent.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("__init__.py")]
    listed = set(project["tool"]["setuptools"]["packages"])
    assert listed == {".".join(folder.parts) for folder in folders} | {"skcdf.resources"}


def test_the_block_blocks():
    assert "No module named 'torch'" in run("import torch", ("torch",)).stderr
