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
from typing import Any

import numpy as np

from bayesmixed.design import Design
from bayesmixed.distributions import Normal
from bayesmixed.draws import Draws, layout
from bayesmixed.errors import SamplerError, quoted
from bayesmixed.families import Family
from bayesmixed.keyed_random import normals, uniforms
from bayesmixed.priors import Priors
from bayesmixed.sampling.collapsed.density import CollapsedDensity, elimination_order
from bayesmixed.sampling.collapsed.effects import FirstEffects, Points, draw_coefficients, later_effects
from bayesmixed.sampling.collapsed.elimination import Columns, products_kept
from bayesmixed.sampling.collapsed.nested import chain
from bayesmixed.sampling.collapsed.no_groups import Rotated, sample_log_sigma
from bayesmixed.sampling.collapsed.search import Sampled, sample_covariances
from bayesmixed.sampling.collapsed.statistics import CrossProducts
from bayesmixed.sampling.collapsed.units import Units
from bayesmixed.sampling.progress import Progress

MAX_DIMENSION = 21  # coordinates of the covariances up to which one t distribution covers them
MAX_COLUMNS = 2500  # effects of crossed factors beside the largest: one dense matrix of that size
MAX_PRODUCTS = 50_000_000  # numbers of the matrix of cross-products: with what building it takes, a few GB
MAX_STORED = 20_000_000  # numbers of one factor's draws that are stored


def prior_in_the_way(priors: Priors) -> str:
    """Why the priors keep the effects from being integrated out; empty where they do not."""
    given = dict(priors.common) if priors.intercept is None else {"Intercept": priors.intercept, **priors.common}
    found = [f"{name!r}: {prior!r}" for name, prior in given.items() if not isinstance(prior, Normal)]
    return f"only Normal priors of common effects integrate out, not {', '.join(found)}" if found else ""


def too_large(design: Design, statistics: CrossProducts) -> str:
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
        return _sample_regression(design, priors, units, draws=draws, chains=chains, seed=seed, clock=clock)
    statistics = CrossProducts.of(design, units)
    clock.lap("statistics")
    if reason := too_large(design, statistics):
        raise SamplerError(reason)
    density = CollapsedDensity.of(design, priors, units, statistics)
    rng = np.random.default_rng(seed)
    with Progress(progressbar, f"Sampling {density.dimension + 1} parameters") as progress:
        try:
            sampled = sample_covariances(density, draws=draws, chains=chains, rng=rng, advance=progress.advance)
            clock.lap("sample")
            if refusal := sampled.block.refusal:
                raise SamplerError(f"the proposal does not cover the posterior: {refusal}")
            return _with_effects(design, sampled, seed, clock, progress)
        except np.linalg.LinAlgError as error:
            raise SamplerError(f"the linear algebra failed: {error}") from error


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


def _with_effects(design: Design, sampled: Sampled, seed: int, clock: Clock, progress: Progress) -> Draws:
    """Draw the effects, and bring everything to the user's scale."""
    density, block = sampled.density, sampled.block
    shape = block.chains.state.shape
    distinct, which = np.unique(block.chains.state, return_inverse=True)
    roots = density.covariances.at(block.evaluated.theta[:, distinct]).roots
    points = Points(roots, block.evaluated.s[distinct], which.ravel())
    names = [factor.name for factor in design.groups]
    coefficients = draw_coefficients(density, points, names, seed, progress.advance)
    values, means = _common_values(design, density.units, coefficients.gamma, coefficients.gamma_mean, shape)
    values |= _covariance_values(design, density.units, points, shape)
    for f, b in later_effects(density, coefficients.later).items():
        values[f"b_{names[f]}"] = _by_draw(b.swapaxes(0, 1), shape)
    for f, b in later_effects(density, coefficients.later_mean.mean(axis=1)).items():
        means[f"b_{names[f]}"] = b.T
    source = FirstEffects(density, points, coefficients, (seed, "effects", names[density.order[0]]))
    name = f"b_{names[source.factor]}"
    lazy = source.n_levels * source.n_effects * np.prod(shape) > MAX_STORED
    if not lazy:
        b = source.draw(np.arange(source.n_levels))
        values[name] = b.reshape(*shape, *b.shape[1:])
        means[name] = source.mean
    stats = {
        "lp": block.evaluated.log_joint[block.chains.state],
        "acceptance_rate": block.chains.acceptance,
        "diverging": np.zeros(shape, dtype=bool),
    }
    clock.lap("effects")
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
    ordered = {key: values[key] for key in layout(design, ("sigma",)) if key in values}
    lazy_sources = {names[source.factor]: source} if lazy else {}
    return Draws(ordered, stats, diagnostics, means, density.statistics, lazy_sources)


def _by_draw(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Arrays (..., S) of draws as (chain, draw, ...)."""
    return np.ascontiguousarray(np.moveaxis(values, -1, 0)).reshape(*shape, *values.shape[:-1])


def _covariance_values(design: Design, units: Units, points: Points, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Draws of sigma, and of the group effects' standard deviations and correlations, on the user's scale."""
    sigma = np.exp(points.s)
    values = {"sigma": (units.scaling.y_scale * sigma)[points.which].reshape(shape)}
    for f, factor in enumerate(design.groups):
        sd, R = units.group_covariance(f, points.roots[f])
        values[f"sd_{factor.name}"] = _by_draw((sd * sigma)[:, points.which], shape)
        if factor.pairs:
            rows, columns = np.transpose(factor.pairs)
            values[f"corr_{factor.name}"] = _by_draw(R[rows, columns][:, points.which], shape)
    return values


def _common_values(
    design: Design, units: Units, gamma: np.ndarray, gamma_mean: np.ndarray, shape: tuple[int, int]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draws and exact means of Intercept and beta on the user's scale."""
    values: dict[str, np.ndarray] = {}
    means: dict[str, np.ndarray] = {}
    intercept, beta = units.common_effects(gamma)
    mean_intercept, mean_beta = units.common_effects(gamma_mean.mean(axis=1))
    if intercept is not None:
        values["Intercept"], means["Intercept"] = intercept.reshape(shape), np.asarray(mean_intercept)
    if design.common_names:
        values["beta"], means["beta"] = _by_draw(beta, shape), mean_beta
    return values, means


def _sample_regression(
    design: Design, priors: Priors, units: Units, *, draws: int, chains: int, seed: int, clock: Clock
) -> Draws:
    """A model without groups: independent draws."""
    rotated = Rotated.of(design, priors, units)
    clock.lap("statistics")
    y_scale = units.scaling.y_scale
    floor = float(np.log(units.scaling.sigma_floor / y_scale))
    u = uniforms((seed, "sigma"), (chains * draws,))
    s, lp = sample_log_sigma(rotated, priors.auxiliary["sigma"], y_scale, floor, u)
    clock.lap("sample")
    p = len(rotated.mean)
    gamma_mean, gamma = rotated.draw(s, normals((seed, "common"), (chains * draws, p)).T)
    shape = (chains, draws)
    values, means = _common_values(design, units, gamma, gamma_mean, shape)
    values["sigma"] = (y_scale * np.exp(s)).reshape(shape)
    stats = {
        "lp": lp.reshape(shape),
        "acceptance_rate": np.ones(shape),
        "diverging": np.zeros(shape, dtype=bool),
    }
    clock.lap("effects")
    diagnostics: dict[str, Any] = {"sampler": "collapsed", "acceptance": 1.0, "seconds": clock.seconds}
    return Draws(values, stats, diagnostics, means)
