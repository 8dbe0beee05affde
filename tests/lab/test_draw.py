"""The landscape of each method against the density, and the picture of a density."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from small_lab import small, two_gaussians
from torch import Tensor

from modeseek.denoisers import MixtureDenoiser
from modeseek.densities import PlanarSet
from modeseek.errors import UsageError
from modeseek.lab.config import LabConfig
from modeseek.lab.draw import DEPTH, SHADES, check_landscape, landscape, landscape_panel, middle, nodes, shade
from modeseek.lab.methods import build_estimator
from modeseek.lab.problem import Problem
from modeseek.randomness import Streams


def exact(planar: PlanarSet) -> Problem:
    denoiser = MixtureDenoiser(planar.density, sigma_max=5.0)
    return Problem(planar, planar.density, denoiser, denoiser, None)


def told(config: LabConfig, problem: Problem) -> tuple[dict[str, Tensor], dict[str, float]]:
    panel, numbers = landscape_panel(config, problem, landscape(config, problem))
    return dict(panel.marks), numbers


# -- truth -------------------------------------------------------------------------------------------------------------


def test_msd_has_a_minimum_for_each_mode_and_no_other() -> None:
    """LAND-3."""
    config = small(denoiser="exact", landscape_bandwidth=0.05, field=101, box=1.1)
    problem = Problem.of(config)
    marks, numbers = told(config, problem)
    modes = problem.density.modes(0.05).points
    assert len(modes) == 8
    assert numbers == {
        "minima": 8,
        "phantom_minima": 0,
        "modes_without_minimum": 0,
        "rotation": pytest.approx(0, abs=0.02),
    }
    assert float((marks["minima at a mode"][:, None] - modes).norm(dim=-1).amin(1).max()) < 0.01
    assert len(marks["phantom minima"]) == 0


def test_msd_descends_the_log_of_the_smoothed_density() -> None:
    """LAND-1, MSD-6: -h^2 log p_h up to a constant."""
    config = small(denoiser="exact", landscape_bandwidth=0.3, field=81, box=1.0)
    problem = Problem.of(config)
    truth = -(0.3**2) * problem.density.log_prob(torch.cartesian_prod(nodes(config), nodes(config)), 0.3)
    off = landscape(config, problem).potential - truth.reshape(81, 81)
    assert float(off.max() - off.min()) < 0.01 * float(truth.max() - truth.min())


def test_sds_has_a_phantom_between_two_gaussians() -> None:
    """LAND-3: the paper's phantom mode; the mean shift at the same density finds both modes and no phantom."""
    problem = exact(two_gaussians())
    marks, numbers = told(small(method="sds", denoiser="exact", field=33, box=1.0, field_draws=24), problem)
    assert (numbers["phantom_minima"], numbers["modes_without_minimum"]) == (1, 2)
    assert float(marks["phantom minima"].norm(dim=1).max()) < 0.1  # the modes are at +-0.4
    assert float(problem.density.log_prob(torch.zeros(1, 2)) - problem.density.log_prob(marks["true modes"])[0]) < -5
    _, right = told(small(method="msd", denoiser="exact", field=65, box=1.0, landscape_bandwidth=0.1), problem)
    assert (right["minima"], right["phantom_minima"], right["modes_without_minimum"]) == (2, 0, 0)


def test_particles_that_are_the_density_leave_vsd_nothing_to_descend() -> None:
    """VSD-1: against SDS's field at the same draws, that of VSD is small where its particles are samples."""
    problem = exact(two_gaussians())
    samples = problem.sample(4000, 0)
    sds, vsd = (
        small(method="sds", field=9, box=0.6, field_draws=8),
        small(method="vsd", field=9, box=0.6, field_draws=8),
    )
    assert landscape(vsd, problem, samples).field.norm() < 0.1 * landscape(sds, problem).field.norm()


def test_modes_outside_the_box_do_not_count() -> None:
    problem = exact(two_gaussians(distance=3.0))
    marks, numbers = told(small(denoiser="exact", field=33, box=1.0), problem)
    assert len(marks["true modes"]) == 0
    assert numbers["modes_without_minimum"] == 0


# -- how it is asked ---------------------------------------------------------------------------------------------------


def test_in_the_middle() -> None:
    """The bandwidth is the landscape's at every step; sdi stands in the middle of its time, the others draw theirs."""
    config = small(landscape_bandwidth=0.07, time_low=0.2, time_high=0.6)
    assert (middle(config).bandwidth_start, middle(config).bandwidth_end) == (0.07, 0.07)
    assert (middle(config).time_low, middle(config).time_high) == (0.2, 0.6)
    sdi = middle(small(method="sdi", time_low=0.2, time_high=0.6))
    assert (sdi.time_low, sdi.time_high) == (pytest.approx(0.4), pytest.approx(0.4))


def test_all_points_share_their_noise() -> None:
    """The field is the mean of an estimator's gradients over draws, each the same for all nodes."""
    config = small(method="sds", denoiser="exact", field=5, field_draws=3, seed=4)
    problem = Problem.of(config)
    estimator = build_estimator(middle(config), problem)
    x = torch.cartesian_prod(nodes(config), nodes(config))
    draws = [estimator(x[7:8], rng=Streams(4, [(0, k)])).grad for k in range(3)]
    found = landscape(config, problem).field.reshape(25, 2)
    torch.testing.assert_close(found[7:8], torch.stack(draws).mean(0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("field", [5, 9, 10, 11])
def test_numbers_are_strict_json_on_any_grid(field: int) -> None:
    config = small(denoiser="exact", field=field)
    _, numbers = told(config, Problem.of(config))
    assert 0 <= json.loads(json.dumps(numbers, allow_nan=False))["rotation"] <= 1


def test_a_fitted_estimator_is_drawn_itself() -> None:
    config = small(method="vsd", auxiliary="trained", denoiser="exact", field=5)
    problem = Problem.of(config)
    fitted: Any = build_estimator(config, problem)
    fresh = landscape(config, problem)
    for step in range(3):
        fitted.fit(torch.ones(4, 2, dtype=torch.float64), rng=Streams.for_batch(0, 4).at(step))
    assert not torch.equal(landscape(config, problem, fitted=fitted).field, fresh.field)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sampler": "summed", "bandwidth_start": 3.0, "bandwidth_end": 2.0}, "the summed sampler diverges"),
        ({"landscape_bandwidth": 6.0}, "must be at most the model's sigma_max 5, got 6"),
    ],
)
def test_what_could_not_be_drawn_is_refused(options: dict[str, Any], reason: str) -> None:
    config = small(denoiser="exact", **options)
    with pytest.raises(
        UsageError, match=f"landscape_bandwidth must be .* else choose --no-landscape, got .*: .*{reason}"
    ):
        check_landscape(config, Problem.of(config))


# -- the density behind ------------------------------------------------------------------------------------------------


def test_the_shade_of_a_gaussian() -> None:
    """1 at its top, falling with the log density, 0 from ``DEPTH`` nats below on."""
    density = two_gaussians(distance=1e-9, std=0.2).density
    grey = shade(density, 1.0)
    axis = torch.linspace(-1, 1, SHADES, dtype=torch.float64)
    square = axis[:, None] ** 2 + axis**2
    expected = (1 - (square - square.min()) / (2 * 0.2**2) / DEPTH).clamp(min=0)
    torch.testing.assert_close(grey, expected, rtol=0, atol=1e-6)
    assert (float(grey.max()), float(grey.min())) == (1, 0)
    assert float(shade(density, 1.0, sigma=1.0).min()) > 0.5
