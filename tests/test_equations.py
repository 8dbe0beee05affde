"""The index of equations: id -> formula -> code -> test, each where the other says it is."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ID = re.compile(
    r"\b(?:MSD-\d+|(?:SIGMA|MIX|SDS|VSD|SDI|TIME|DDIM|HEUN|PROX|GIBBS|CFG|KDE|MLP|FD|KD|NLL|PR|MMD|MODE|LAND"
    r"|CMMD|CLIP|BOOT|PERPNEG|VIEW|FLOW|NERF|HASH|REG|MESH|CAM)-\d)\b"
)  # DDIM-32 is a sampler of 32 steps
PAGE = (ROOT / "docs" / "equations.md").read_text()
ROWS = {
    cells[0]: cells[1:]
    for line in PAGE.splitlines()
    if line.startswith("|") and ID.fullmatch((cells := [c.strip() for c in line.strip("|").split("|")])[0])
}
INDEXED = sorted(set(ID.findall(PAGE)))


def docstrings(path: Path) -> str:
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, holders))
    return "\n".join(ast.get_docstring(n) or "" for n in nodes)


def files(folder: str) -> list[Path]:
    return [p for p in sorted((ROOT / folder).rglob("*.py")) if p != Path(__file__)]


def test_the_index_is_not_empty():
    assert len(ROWS) >= 20
    assert set(ROWS) == set(INDEXED), "an id that the page mentions has a row of its own"


@pytest.mark.parametrize("equation", INDEXED)
def test_every_equation_has_code_and_a_test(equation):
    """In a docstring of the package and in a test; and in the files that its row names."""
    assert any(equation in ID.findall(docstrings(p)) for p in files("modeseek"))
    assert any(equation in ID.findall(p.read_text()) for p in files("tests"))
    _, code, test = ROWS[equation]
    named = {kind: re.findall(r"`([\w/]+\.py)`", cell) for kind, cell in (("modeseek", code), ("tests", test))}
    assert all(named.values()), f"the row of {equation} names no file: {named}"
    for folder, paths in named.items():
        for path in paths:
            assert equation in ID.findall((ROOT / folder / path).read_text()), f"{folder}/{path} lacks {equation}"


@pytest.mark.parametrize("path", files("modeseek"), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_id_in_the_code_is_in_the_index(path):
    assert set(ID.findall(path.read_text())) <= set(INDEXED)


@pytest.mark.parametrize("path", files("tests"), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_id_in_the_tests_is_in_the_index(path):
    assert set(ID.findall(path.read_text())) <= set(INDEXED)
