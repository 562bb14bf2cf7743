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

import time

import numpy as np

from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.errors import SamplerError, quoted
from bayesmixed.families.base import Family
from bayesmixed.gaussian.density import CollapsedDensity, elimination_order
from bayesmixed.gaussian.elimination import Columns, products_kept
from bayesmixed.gaussian.nested import chain
from bayesmixed.gaussian.statistics import CrossProducts
from bayesmixed.gaussian.units import Units
from bayesmixed.posterior.draws import Draws
from bayesmixed.priors.distributions import Normal
from bayesmixed.priors.priors import Priors
from bayesmixed.sampling.collapsed.assembly import State, assemble
from bayesmixed.sampling.collapsed.regression import Regression, Rotated
from bayesmixed.sampling.collapsed.search import sample_covariances
from bayesmixed.sampling.progress import Progress

MAX_DIMENSION = 21  # coordinates of the covariances up to which one t distribution covers them
MAX_COLUMNS = 2500  # effects of crossed factors beside the largest: one dense matrix of that size
MAX_PRODUCTS = 50_000_000  # numbers of the matrix of cross-products: with what building it takes, a few GB


def prior_in_the_way(priors: Priors) -> str:
    """Why the priors keep the effects from being integrated out; empty where they do not."""
    given = dict(priors.common) if priors.intercept is None else {"Intercept": priors.intercept, **priors.common}
    found = [f"{name!r}: {prior!r}" for name, prior in given.items() if not isinstance(prior, Normal)]
    return f"only Normal priors of common effects integrate out, not {', '.join(found)}" if found else ""


def too_large(design: Design | DesignSpec, statistics: CrossProducts) -> str:
    """Why the model is beyond the sampler; empty where it is not."""
    pairs = sum(len(factor.pairs) for factor in design.groups)
    dimension = pairs + sum(len(factor.effect_names) for factor in design.groups)
    if dimension > MAX_DIMENSION:
        return f"{dimension} standard deviations and correlations are more than {MAX_DIMENSION}"
    order = elimination_order(statistics)
    columns = Columns.of(statistics, order[1:])
    if chain(statistics) is None and columns.m > MAX_COLUMNS:
        others = quoted(design.groups[f].name for f in order[1:])
        return f"the crossed factors {others} have {columns.m} effects, more than {MAX_COLUMNS}"
    if (products := products_kept(statistics, order[0], columns)) > MAX_PRODUCTS:
        first = design.groups[order[0]].name
        return f"the groups of {first!r} meet so many other columns that {products:.1e} cross-products would be kept"
    return ""


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


def sample_density(
    design: Design | DesignSpec,
    density: CollapsedDensity,
    *,
    draws: int,
    chains: int,
    seed: int,
    progressbar: bool,
    clock: Clock,
) -> Draws:
    """Steps 2 to 5 for a density that is prepared; parameters as in `sample`."""
    rng = np.random.default_rng(seed)
    with Progress(progressbar, f"Sampling {density.dimension + 1} parameters") as progress:
        try:
            sampled = sample_covariances(density, draws=draws, chains=chains, rng=rng, advance=progress.advance)
            clock.lap("sample")
            block = sampled.block
            if block.refusal:
                raise SamplerError(f"the proposal does not cover the posterior: {block.refusal}")
            diagnostics = {
                "sampler": "collapsed",
                "k_hat": block.k_hat,
                "acceptance": block.acceptance,
                "longest_stay": block.longest_stay,
                "proposals_per_draw": block.thin / block.hold,
                "passes": sampled.passes,
                "modes": sampled.modes,
                "evaluations": sampled.evaluations,
                "seconds": clock.seconds,
            }
            state = State.of(sampled)
            result = assemble(design, state, seed, block.chains.acceptance, diagnostics, advance=progress.advance)
        except np.linalg.LinAlgError as error:
            raise SamplerError(f"the linear algebra failed: {error}") from error
    clock.lap("effects")
    return result


class Clock:
    """Seconds of each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        """End a step."""
        now = time.perf_counter()
        self.seconds[step] = now - self._last
        self._last = now
