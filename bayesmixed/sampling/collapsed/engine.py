"""The collapsed sampler: the order of its steps, what it is not for, and its draws on the user's scale.

1. One pass over the rows (`statistics`).
2. Modes of the density of the group covariances, sigma integrated out (`modes`).
3. A t distribution adapted to it (`proposal`).
4. Chains of independence Metropolis-Hastings over fresh proposals (`chains`), now with sigma, whose exact density
   they follow. Where Pareto k-hat or the longest expected stay tell against the proposal, it learns from the proposals
   and step 4 is done again (`search`).
5. Exact draws of the effects (`effects`).

A model without groups has only sigma to sample: `no_groups`.
"""

from __future__ import annotations

from bayesmixed.design.spec import Design
from bayesmixed.errors import SamplerError
from bayesmixed.families.base import Family
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.statistics import CrossProducts
from bayesmixed.gaussian.units import Units
from bayesmixed.posterior.draws import Draws
from bayesmixed.priors.priors import Priors
from bayesmixed.sampling.clock import Clock
from bayesmixed.sampling.collapsed.limits import prior_in_the_way, too_large
from bayesmixed.sampling.collapsed.regression import Regression, Rotated
from bayesmixed.sampling.collapsed.state import sample_density


def sample(
    design: Design, family: Family, priors: Priors, *, draws: int, chains: int, seed: int, progressbar: bool
) -> Draws:
    """Draw from the posterior of a Gaussian model.

    Parameters
    ----------
    design : Design
    family : Family
    priors : Priors
    draws, chains : int
    seed : int
    progressbar : bool

    Returns
    -------
    Draws

    Raises
    ------
    SamplerError
        The model is not one that collapses, is too large, or the chains are not to be trusted; says why.
    """
    if family.name != "gaussian":
        raise SamplerError(f"family {family.name!r} does not collapse")
    if reason := prior_in_the_way(priors):
        raise SamplerError(reason)
    clock = Clock()
    units = Units.learn(design, priors)
    if not design.groups:
        regression = Regression(Rotated.of(design, priors, units), units, priors.auxiliary["sigma"])
        clock.lap("statistics")
        result = regression.sample(design, (chains, draws), seed)
        clock.lap("sample")
        result.diagnostics["seconds"] = clock.seconds
        return result
    statistics = CrossProducts.of(design, units)
    clock.lap("statistics")
    if reason := too_large(design, statistics):
        raise SamplerError(reason)
    density = CollapsedDensity.of(design, priors, units, statistics)
    return sample_density(design, density, draws=draws, chains=chains, seed=seed, progressbar=progressbar, clock=clock)
