"""Table 3, Table 4, Figure 6 and the ablation on a tiny model: what they hold, resume, cost first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from modeseek.compare import run
from modeseek.compare.config import Contender
from modeseek.compare.run import Comparison
from modeseek.experiments import ablation, figure6, table3, table4
from modeseek.experiments.config import ReproduceConfig

FILES = {
    "table3": ["report.md", "contact.png", "curves.png"],
    "table4": ["table4.png"],
    "figure6": ["figure6-proximal.png", "figure6-exponential_inverted.png", "figure6-shift.png"],
    "ablation": ["report.md", "contact.png"],
}


@pytest.fixture
def small(monkeypatch):
    """Three optimiser steps, two sampling steps."""
    from modeseek.compare import protocols

    monkeypatch.setitem(protocols.SHARED, "paper2d", {"generator": "mlp", "lr": 1e-2, "steps": 3, "sample_steps": 2})
    monkeypatch.setattr(ablation, "SHARED", (("sample_steps", 2),))
    monkeypatch.setattr(table4, "BUDGETS", (6, 60))
    monkeypatch.setattr(figure6, "LAMBDAS", (1e3, 1e-2))
    monkeypatch.setattr(figure6, "COLUMNS", 3)


@pytest.fixture
def reproduce(modeseek, tiny, small, tmp_path):
    (tmp_path / "p.txt").write_text("red cat\na tree\n")

    def call(what, *more, seeds=2):
        return modeseek("reproduce", what, "--prompts", "p.txt", "--prior", tiny, "--seeds", seeds, *more)

    return call


@pytest.mark.parametrize("what", FILES)
def test_where_results_go(what, reproduce):
    code, out, err = reproduce(what)
    assert code == 0
    assert err.count("modeseek:") == err.count("the shipped small CLIP") == 1
    folder = Path("modeseek-runs", what)
    for name in [f"{what}.md", f"{what}.json", *FILES[what]]:
        assert (folder / name).stat().st_size
        if name.endswith("png"):
            Image.open(folder / name).verify()
    assert out.index("evaluations a picture") < out.index((folder / f"{what}.md").read_text())
    stored = (folder / f"{what}.md").read_bytes()
    code, again, _ = reproduce(what)
    assert "already" in again
    assert (folder / f"{what}.md").read_bytes() == stored


@pytest.mark.parametrize("what", FILES)
def test_the_cost_alone(what, reproduce):
    code, out, _ = reproduce(what, "--dry-run")
    assert code == 0
    assert "in all" in out
    assert not list(Path("modeseek-runs").rglob("cell.json")) if Path("modeseek-runs").exists() else True


def test_table3_holds_the_papers_numbers_and_our_own(reproduce):
    reproduce("table3", seeds=3)
    text = Path("modeseek-runs/table3/table3.md").read_text()
    rows = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[1:-1]]
        for line in text.splitlines()
        if "|" in line
    }
    assert {"ddim", "sds", "vsd", "sdi", "msd"} <= set(rows)
    assert (rows["sds"][7], rows["sds"][10]) == ("198.9", "27.7")
    assert (rows["sdi"][7], rows["ddim"][10]) == ("166.2", "44.1")
    assert rows["sds"][5] == "1.00"
    assert "clip:pocket-clip" in text
    stored = json.loads(Path("modeseek-runs/table3/table3.json").read_text())
    by = {entry["row"]["name"]: entry for entry in stored}
    floor, sds, msd = (by[n]["row"]["results"]["frechet"]["value"] for n in ("ddim", "sds", "msd"))
    assert by["msd"]["above"] == pytest.approx((msd - floor) / (sds - floor))
    assert by["msd"]["nearer"]["value"] == pytest.approx(sds - msd)
    assert "Expected: at most 0.6 of SDS's distance above the floor" in text
    assert ("met" in text) != ("missed" in text)


def test_table4_spends_what_it_may(compare_tiny):
    for contender in table4.METHODS:
        for budget in (7, 60, 300):
            chosen = table4.within(compare_tiny, contender, budget)
            steps = dict(chosen.options)["steps"]
            spent = compare_tiny.nfe(chosen)
            more = compare_tiny.nfe(table4.stepping(contender, steps + 1, budget))
            assert (spent <= budget < more) or steps == 1, (str(contender), budget, steps, spent, more)


@pytest.fixture
def compare_tiny(tiny, tmp_path, small):
    (tmp_path / "p.txt").write_text("red cat\n")
    config = ReproduceConfig("table4", prompts=tmp_path / "p.txt", prior=str(tiny), out=tmp_path / "o")
    return Comparison.open(config.comparison("msd"), table4.METHODS)


def test_figure6_pins_where_the_kernel_is_narrow(reproduce):
    reproduce("figure6")
    rows = json.loads(Path("modeseek-runs/figure6/figure6.json").read_text())
    assert [(r["sampler"], r["paper"]) for r in rows] == [(s, p) for s in figure6.SAMPLERS for p in (1e3, 1e-2)]
    for wide, narrow in (rows[:2], rows[2:]):
        assert max(narrow["shift"]) < 0.1 * min(wide["shift"])
        assert narrow["bandwidth"] == pytest.approx(1e-2 / 2**0.5)


def test_the_ablation_is_two_by_two():
    found = {str(c): dict(c.options) for c in ablation.variants()}
    assert set(found) == set(ablation.EXPECTED)
    assert {(o["sampler"], o["kernel_low"]) for o in found.values()} == {
        ("exponential", 0.0),
        ("exponential", ablation.LOW),
        ("exponential_inverted", 0.0),
        ("exponential_inverted", ablation.LOW),
    }


def test_a_verdict_is_not_given_without_sds():
    assert table3.verdict({}) == ""


def test_a_missing_method_leaves_its_row_out(reproduce, monkeypatch):
    from modeseek.errors import NonFiniteError

    whole = run.Comparison._distilled

    def broken(self, cells):
        if cells[0].contender == Contender("vsd"):
            raise NonFiniteError("the loss must be finite")
        return whole(self, cells)

    monkeypatch.setattr(run.Comparison, "_distilled", broken)
    code, _, _ = reproduce("table3")
    assert code == 1
    assert "| vsd | red cat | 0 | the loss must be finite |" in Path("modeseek-runs/table3/table3.md").read_text()
    assert "| vsd | 4 |" not in Path("modeseek-runs/table3/table3.md").read_text()
    assert "the loss must be finite" in Path("modeseek-runs/table3/report.md").read_text()


def test_pictures_are_pairs_or_not_compared(reproduce, tiny, tmp_path):
    """One lacks the first picture, the other the last: as many, but no pairs."""
    import shutil

    reproduce("table3", seeds=3)
    cells = Path("modeseek-runs/table3/cells")
    config = ReproduceConfig("table3", prompts=tmp_path / "p.txt", prior=str(tiny), seeds=3)
    comparison = Comparison.open(config.comparison(table3.METHODS))
    assert table3.nearer(table3.Gauge.of(comparison), Contender("msd")) is not None
    shutil.rmtree(cells / "sds/00-red-cat/seed-0")
    shutil.rmtree(cells / "msd/01-a-tree/seed-2")
    assert table3.nearer(table3.Gauge.of(comparison), Contender("msd")) is None


@pytest.mark.parametrize("what", ["table3", "table4", "ablation", "figure6"])
def test_when_everything_fails_it_is_said(what, reproduce, monkeypatch):
    def broken(self, cells):
        raise ValueError("it broke")

    monkeypatch.setattr(run.Comparison, "_distilled", broken)
    code, out, err = reproduce(what)
    assert code == 1
    assert "it broke" in out + err
    monkeypatch.setattr(run.Comparison, "_sampled", broken)
    code, out, err = reproduce(what, "--out", "other")
    assert code in (1, 2)
    assert "Error" not in err.replace("UsageError", "")
