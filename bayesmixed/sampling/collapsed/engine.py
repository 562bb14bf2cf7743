"""The collapsed sampler: the order of its steps, its limits, and its draws on the user's scale.

1. One pass over the rows (`statistics`).
2. Modes of the density of the group covariances, sigma integrated out (`modes`).
3. A t distribution adapted to it (`proposal`).
4. Chains of independence Metropolis-Hastings over fresh proposals (`chains`), now with sigma and the exact density. If
   Pareto k-hat or the longest expected stay are too large, the proposal distribution learns from the proposals and
   step 4 is repeated (`search`).
5. Exact draws of the effects (`effects`); those of the first factor wait until they are read (`Values`).

A model without groups has only sigma to sample: `no_groups`.
"""

from __future__ import annotations

from bayesmixed.design.summed.summed import Measured
from bayesmixed.errors import SamplerError
from bayesmixed.families.base import Family
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.statistics import working_products
from bayesmixed.gaussian.units import Units
from bayesmixed.posterior.draws import Draws
from bayesmixed.posterior.posterior import Model
from bayesmixed.sampling.clock import Clock
from bayesmixed.sampling.collapsed.limits import prior_in_the_way, too_large
from bayesmixed.sampling.collapsed.regression import Regression, Rotated
from bayesmixed.sampling.collapsed.state import sample_density
from bayesmixed.sampling.engine import Settings

NAME = "collapsed"


def takes(family: Family) -> bool:
    """Whether the sampler supports a family: those that collapse."""
    return family.collapses


def refuses(model: Model, design: Measured, settings: Settings) -> str:
    """Why the model does not collapse; empty if it does."""
    return prior_in_the_way(model.priors) or too_large(design)


def sample(model: Model, design: Measured, settings: Settings) -> Draws:
    """Draw from the posterior of a Gaussian model; see `Engine.sample`."""
    clock = Clock()
    design, priors = design.working(model.family), model.priors
    units = Units.learn(design, priors)
    if not design.groups:
        regression = Regression(Rotated.of(design, priors, units), units, priors.auxiliary["sigma"])
        clock.lap("statistics")
        result = regression.sample(design, (settings.chains, settings.draws), settings.seed)
        clock.lap("sample")
        result.diagnostics["seconds"] = clock.seconds
        return result
    statistics = working_products(design, units)
    clock.lap("statistics")
    if reason := too_large(design, statistics):
        raise SamplerError(reason)
    density = CollapsedDensity.of(design, priors, units, statistics)
    return sample_density(
        design,
        density,
        draws=settings.draws,
        chains=settings.chains,
        seed=settings.seed,
        progressbar=settings.progressbar,
        clock=clock,
    )


def advice(design: Measured, settings: Settings, diverged: bool, mixes: bool) -> tuple[list[str], list[str]]:
    """See `Engine.advice`; nothing can diverge here."""
    return ([], []) if mixes else (["chains too short"], ["raise draws"])
