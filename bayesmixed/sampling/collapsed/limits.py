"""What the collapsed sampler is not for."""

from __future__ import annotations

from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.design.statistics import CrossProducts
from bayesmixed.distributions import Normal
from bayesmixed.gaussian import elimination
from bayesmixed.priors.priors import Priors

MAX_DIMENSION = 21  # coordinates of the covariances up to which one t distribution covers them


def prior_in_the_way(priors: Priors) -> str:
    """Why the priors keep the effects from being integrated out; empty where they do not."""
    given = dict(priors.common) if priors.intercept is None else {"Intercept": priors.intercept, **priors.common}
    found = [f"{name!r}: {prior!r}" for name, prior in given.items() if not isinstance(prior, Normal)]
    return f"only Normal priors of common effects integrate out, not {', '.join(found)}" if found else ""


def too_large(design: Design | DesignSpec, statistics: CrossProducts | None = None) -> str:
    """Why the model is beyond the sampler; empty where it is not, as far as can be told without `statistics`."""
    pairs = sum(len(factor.pairs) for factor in design.groups)
    dimension = pairs + sum(len(factor.effect_names) for factor in design.groups)
    if dimension > MAX_DIMENSION:
        return f"{dimension} standard deviations and correlations are more than {MAX_DIMENSION}"
    if statistics is None:
        return ""
    return elimination.too_large(statistics, [factor.name for factor in design.groups])
