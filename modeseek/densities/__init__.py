"""Densities in closed form: what samplers and estimators are proved on."""

from modeseek.densities.mixture import GaussianMixture

__all__ = ["GaussianMixture"]
