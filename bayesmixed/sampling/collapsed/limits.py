"""What the collapsed sampler is not for."""

from __future__ import annotations

from bayesmixed.design.statistics import CrossProducts
from bayesmixed.design.summed.summed import Named
from bayesmixed.gaussian import elimination
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.priors.priors import Priors
from bayesmixed.sampling.shared import n_covariance_parameters, not_normal

SHARED_BY_THREADS = 500  # columns of a matrix that is worth several threads of BLAS
MAX_DIMENSION = 21  # coordinates of the covariances up to which one t distribution covers them


def prior_in_the_way(priors: Priors) -> str:
    """Why the priors keep the effects from being integrated out; empty where they do not."""
    found = not_normal(priors)
    return f"only Normal priors of common effects integrate out, not {found}" if found else ""


def are_small(density: CollapsedDensity) -> bool:
    """Whether the matrices of the density are so small that several threads of BLAS are a hindrance."""
    return density.elimination.largest < SHARED_BY_THREADS


def too_large(design: Named, statistics: CrossProducts | None = None) -> str:
    """Why the model is beyond the sampler; empty where it is not, as far as can be told without `statistics`."""
    dimension = n_covariance_parameters(design)
    if dimension > MAX_DIMENSION:
        return f"{dimension} standard deviations and correlations are more than {MAX_DIMENSION}"
    if statistics is None:
        return ""
    return elimination.too_large(statistics, [factor.name for factor in design.groups])
