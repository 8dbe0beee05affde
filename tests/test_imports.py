"""Which way imports point: a file imports what stands to its left on the map, and its own room."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "modeseek"
FILES = sorted(PACKAGE.rglob("*.py"))

# import no torch and no other room; open to all
TABLES = {"errors", "methods", "planar", "reports", "schedules", "shipped", "tokens"}
MAP = [  # from left to right; rooms that stand together do not know each other
    {"noise", "randomness", "optimisers"},
    {"densities", "cameras"},
    {"denoisers"},
    {"guidance"},
    {"samplers"},
    {"estimators", "priors", "generators", "metrics"},
    {"distillation", "landscape", "runs", "pictures", "config"},
    {"checkpoints", "plots", "videos"},
    {"jobs"},
    {"descent"},
    {"text2image", "lab", "doctor"},
    {"scene"},
    {"compare"},
    {"experiments"},
    {"cli", "app"},
    {"__main__"},
]
CORE = set().union(*MAP[:5], {"estimators"}) | TABLES
HEAVY = {"diffusers", "transformers", "matplotlib", "skimage", "sklearn", "scipy", "peft", "gradio", "imageio", "av"}
HEAVY |= {"trimesh", "viser", "nerfacc"}
STANDARD = sys.stdlib_module_names


def room(path: Path) -> str:
    """Folder or file that a module of the package lives in: samplers, noise, __init__."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(source: str) -> Iterator[tuple[str, int, bool]]:
    """Full name, line, and whether it is inside a function or for type checkers alone, of every import."""

    def walk(node: ast.AST, late: bool) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, child.lineno, late) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"line {child.lineno}: write the full name instead of a relative import"
                yield from ((f"{child.module}.{alias.name}", child.lineno, late) for alias in child.names)
            typing_only = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, late or typing_only or function)

    return walk(ast.parse(source), False)


def wrong_arrows(here: str, source: str) -> list[str]:
    """Imports of the package's own rooms that stand beside or to the right of ``here``."""
    if here == "__init__":
        return []  # exports every room, when it is asked
    level = next((i for i, rooms in enumerate(MAP) if here in rooms), None)
    assert level is not None or here in TABLES, (
        f"{here} is not on the map: put it where it belongs in MAP of {__file__}"
    )
    seen = TABLES | {here} if level is None else TABLES | {here}.union(*MAP[:level])
    wrong = []
    for name, line, _ in imports(source):
        root, _, rest = name.partition(".")
        if root == "modeseek" and rest.split(".")[0] not in seen | {"__version__"}:
            wrong.append(f"line {line}: {here} must not import {name}")
    return wrong


READERS = {"PIL", "skimage", "safetensors"}  # of files: a function of the core may import them


def third_parties(source: str) -> set[str]:
    names = {(name.split(".")[0], late) for name, _, late in imports(source)}
    return {name for name, late in names if not (late and name in READERS)} - STANDARD - {"modeseek"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows_point_left(path):
    assert not wrong_arrows(room(path), path.read_text())


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in CORE], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_up_to_the_estimators_torch_and_numpy_are_all(path):
    assert third_parties(path.read_text()) <= (set() if room(path) in TABLES else {"torch", "numpy"})


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_are_imported_where_they_are_needed(path):
    early = {name.split(".")[0] for name, _, late in imports(path.read_text()) if not late}
    assert not early & HEAVY


@pytest.mark.parametrize(
    ("here", "line", "wrong"),
    [
        ("noise", "from modeseek.samplers import ddim", True),
        ("noise", "from modeseek.randomness import Streams", True),
        ("estimators", "import modeseek.generators.base", True),
        ("metrics", "def f():\n    from modeseek.estimators import MSD", True),
        ("methods", "from modeseek import noise", True),
        ("samplers", "from modeseek.samplers.ddim import ddim", False),
        ("samplers", "from modeseek.methods import ProductOptions", False),
        ("priors", "from modeseek.samplers.product.base import Grid", False),
        ("cli", "def f():\n    from modeseek.text2image import TextToImage", False),
    ],
)
def test_the_test_sees_wrong_arrows(here, line, wrong):
    assert bool(wrong_arrows(here, line)) == wrong


def test_the_test_sees_early_imports():
    source = "import diffusers\ndef f():\n    import transformers\nif TYPE_CHECKING:\n    import peft\n"
    assert [(name, late) for name, _, late in imports(source)] == [
        ("diffusers", False),
        ("transformers", True),
        ("peft", True),
    ]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=PACKAGE.parent, capture_output=True, text=True, timeout=120)


def test_tables_and_command_line_import_no_torch():
    code = "import sys, modeseek, modeseek.methods, modeseek.schedules, modeseek.config, modeseek.planar\n"
    code += "import modeseek.lab.config, modeseek.cli\n"
    done = run("-c", code + "sys.exit('torch' in sys.modules)")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["image", "--help"], ["sample", "--help"], ["lab", "--help"], ["reproduce", "--help"]]
)
def test_help_answers_without_torch(arguments):
    done = run("-X", "importtime", "-m", "modeseek", *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "usage" in done.stdout.lower()
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "tyro" in imported
    assert not imported & {"torch", "numpy", "diffusers", "transformers"}
