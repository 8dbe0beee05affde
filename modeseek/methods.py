"""The names of the methods, and where each is written. Imports no torch, so that ``--help`` answers at once.

A method that is added here appears in the command line, in the tables of the docs and in the conformance tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal


@dataclass(frozen=True)
class Method:
    """One row of a table of methods.

    Attributes:
        where: "module:class".
        summary: one line for a table.
        nfe: evaluations per call for T sampling steps, in words; (+ 1) from a start at D(x; h).
    """

    where: str
    summary: str
    nfe: str

    def load(self) -> Any:
        """Import and return the class."""
        module, name = self.where.split(":")
        return getattr(import_module(module), name)


ESTIMATORS = {
    "sds": Method("modeseek.estimators.sds:SDS", "score distillation: predicted noise minus drawn noise", "1"),
    "vsd": Method(
        "modeseek.estimators.vsd:VSD",
        "variational score distillation: predicted noise minus that of the renderings' own density",
        "2",
    ),
    "sdi": Method(
        "modeseek.estimators.sdi:SDI",
        "score distillation via inversion: x minus its denoised inversion",
        "n t + 2",
    ),
    "msd": Method(
        "modeseek.estimators.msd:MSD", "mean-shift distillation: x minus a sample of the product density", "T"
    ),
}

PRODUCT_SAMPLERS = {
    "posterior_mean": Method(
        "modeseek.samplers.product.posterior_mean:PosteriorMean",
        "the mean shift itself, D(x; h): one call, no variance",
        "1",
    ),
    "exact": Method(
        "modeseek.samplers.product.exact:Exact",
        "both Gaussian looks at y composed: exact with an exact denoiser",
        "T (+ 1)",
    ),
    "summed": Method(
        "modeseek.samplers.product.summed:Summed", "sum of both scores (MSD-12): biased, stiff, collapses", "T (+ 1)"
    ),
    "exponential": Method(
        "modeseek.samplers.product.exponential:Exponential",
        "contraction towards x (MSD-14, 15): stable, biased",
        "T (+ 1)",
    ),
    "exponential_inverted": Method(
        "modeseek.samplers.product.exponential_inverted:ExponentialInverted",
        "contraction towards the inversion of x (Algorithm 2): stable, in distribution, biased",
        "2 T",
    ),
    "proximal": Method(
        "modeseek.samplers.product.proximal:Proximal",
        "Gaussian posterior step on D: in distribution, biased",
        "T (+ 1)",
    ),
    "gibbs": Method(
        "modeseek.samplers.product.gibbs:Gibbs",
        "split Gibbs with an ancestral sampler: exact in the limit",
        "T (+ 1), at least 2 a sweep",
    ),
}

EstimatorName = Literal["sds", "vsd", "sdi", "msd"]
ProductSamplerName = Literal[
    "posterior_mean", "exact", "summed", "exponential", "exponential_inverted", "proximal", "gibbs"
]
Start = Literal["posterior_mean", "x"]
Clock = Literal["sigma", "timestep"]
Weighting = Literal["sigma2", "uniform", "fantasia3d", "x0"]
Pairing = Literal["remapped", "public"]
Fresh = Literal["exchanged", "added"]
Loss = Literal["latent", "image"]
Posterior = Literal["mean", "sample"]


@dataclass(frozen=True)
class ProductOptions:
    """What a product sampler may be told; each takes what it knows.

    Attributes:
        start: where integration starts from: ``x`` or ``D(x; bandwidth)``.
        low: the kernel acts only at levels sigma >= low,
        high: and sigma <= high.
        clock: units in which the contraction of the exponential solvers is measured.
        data_variance: of the clean data, per element; for ``proximal`` and ``gibbs``.
        sweeps: of ``gibbs``; the T steps are shared between them.
        max_eps: cap on the inversion's noise, see ``samplers.inversion.invert``.
        printed_start: start ``exponential_inverted`` with the paper's printed mix, whose variance is too small.
        allow_unstable: let ``summed`` run where it is known to diverge.
    """

    start: Start = "posterior_mean"
    low: float = 0.0
    high: float = float("inf")
    clock: Clock = "sigma"
    data_variance: float = 1.0
    sweeps: int = 8
    max_eps: float = float("inf")
    printed_start: bool = False
    allow_unstable: bool = False
