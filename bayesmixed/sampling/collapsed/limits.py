"""The limits of the collapsed sampler."""

from __future__ import annotations

from bayesmixed.design.statistics import CrossProducts
from bayesmixed.design.summed.summed import Named
from bayesmixed.gaussian import elimination
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.priors.priors import Priors
from bayesmixed.sampling.shared import n_covariance_parameters, not_normal

SHARED_BY_THREADS = 500  # fewest columns of a matrix that is worth several threads of BLAS
MAX_DIMENSION = 21  # most coordinates of the covariances that one t distribution covers


def prior_in_the_way(priors: Priors) -> str:
    """Why the priors prevent effects from being integrated out; empty if they do not."""
    found = not_normal(priors)
    return f"common effects need Normal priors to be integrated out; found {found}" if found else ""


def are_small(density: CollapsedDensity) -> bool:
    """Whether the matrices of the density are so small that several threads of BLAS would slow it down."""
    return density.elimination.largest < SHARED_BY_THREADS


def too_large(design: Named, statistics: CrossProducts | None = None) -> str:
    """Why the model is too large for the sampler; empty if it is not, as far as can be told without `statistics`."""
    dimension = n_covariance_parameters(design)
    if dimension > MAX_DIMENSION:
        return f"the model has {dimension} standard deviations and correlations, more than {MAX_DIMENSION}"
    if statistics is None:
        return ""
    return elimination.too_large(statistics, [factor.name for factor in design.groups])
