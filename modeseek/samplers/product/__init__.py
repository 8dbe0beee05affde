"""Product samplers: ``y ~ p(y) N(y; x, bandwidth^2)``, each in its file; ``modeseek.methods`` has their names."""

from modeseek.samplers.product.base import Grid, ProductSampler
from modeseek.samplers.product.exact import Exact
from modeseek.samplers.product.exponential import Exponential
from modeseek.samplers.product.exponential_inverted import ExponentialInverted
from modeseek.samplers.product.gibbs import Gibbs
from modeseek.samplers.product.posterior_mean import PosteriorMean
from modeseek.samplers.product.proximal import Proximal
from modeseek.samplers.product.summed import Summed

__all__ = [
    "Exact",
    "Exponential",
    "ExponentialInverted",
    "Gibbs",
    "Grid",
    "PosteriorMean",
    "ProductSampler",
    "Proximal",
    "Summed",
]
