"""Learn from further rows without a new fit: importance weights of the draws that are there, or chains started anew.

The statistics of old and new rows add up, so that the density of all of them is at hand. With theta and s the group
covariances and log(sigma) of a draw, its weight is

    p(y_old, y_new | theta, s) / p(y_old | theta, s) = p(y_new | y_old, theta, s),

with all effects integrated out. The draws are resampled by it, and the effects are drawn anew, exactly. Where the
weights cannot carry that, the sampler runs on the merged statistics.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.errors import SamplerError
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.statistics import CrossProducts
from bayesmixed.keyed_random import uniforms
from bayesmixed.posterior.diagnostics import convergence, least_ess, pareto_k
from bayesmixed.posterior.draws import Draws
from bayesmixed.sampling.collapsed.assembly import State, assemble
from bayesmixed.sampling.collapsed.engine import Clock, sample_density, too_large
from bayesmixed.sampling.collapsed.regression import Regression
from bayesmixed.sampling.collapsed.search import K_HAT_LIMIT


def update(draws: Draws, spec: DesignSpec, design: Design, *, seed: int, progressbar: bool) -> Draws:
    """Draws from the posterior of old and new rows.

    Parameters
    ----------
    draws : Draws
        Of the old rows, by the collapsed sampler.
    spec : DesignSpec
        With the levels of old and new rows.
    design : Design
        The new rows, their factors coded by `spec`.
    seed : int
        Of the fit.
    progressbar : bool
        Of a new run of the sampler.

    Returns
    -------
    Draws
        ``diagnostics["reason"]`` says which way it went.

    Raises
    ------
    SamplerError
        The model has become too large, or the new chains are not to be trusted.
    """
    clock = Clock()
    state, (chains, n_draws) = draws.collapsed, draws.shape
    if isinstance(state, Regression):
        regression = replace(state, rotated=state.rotated.with_rows(design, state.units))
        result = regression.sample(spec, (chains, n_draws), seed)
        clock.lap("sample")
        result.diagnostics.update(reason="condition: independent draws given all rows", seconds=clock.seconds)
        return result
    statistics = state.density.statistics + CrossProducts.of(design, state.density.units)
    if reason := too_large(spec, statistics):
        raise SamplerError(reason)
    density = state.density.with_statistics(statistics)
    clock.lap("statistics")
    resampled, chosen, k_hat = _weighted(state, density, seed)
    clock.lap("weights")
    if refusal := refuse_weights(k_hat, resampled):
        result = sample_density(
            spec, density, draws=n_draws, chains=chains, seed=seed, progressbar=progressbar, clock=clock
        )
        result.diagnostics["reason"] = f"condition: sampled anew, as {refusal}"
        return result
    acceptance = np.take_along_axis(draws.sample_stats["acceptance_rate"], chosen, axis=1)
    diagnostics = {
        "sampler": "collapsed",
        "reason": "condition: the draws were weighted by the new rows",
        "k_hat": k_hat,
        "acceptance": draws.diagnostics["acceptance"],
        "evaluations": len(state.s),
        "seconds": clock.seconds,
    }
    result = assemble(spec, resampled, seed, acceptance, diagnostics)
    clock.lap("effects")
    return result


def _weighted(state: State, density: CollapsedDensity, seed: int) -> tuple[State, np.ndarray, float]:
    """Resample the draws for the density of all rows; the draws that were chosen, and Pareto k-hat of the weights."""
    log_joint = density.log_joint(state.theta, state.s)
    log_weights = np.nan_to_num(log_joint - state.log_joint, nan=-np.inf)[state.which]
    key = (seed, "resample", str(density.statistics.n))
    chosen = resample(log_weights, uniforms(key, (len(log_weights),)))
    which = np.take_along_axis(state.which, chosen, axis=1)
    resampled = State(density, state.theta, state.s, log_joint, which).visited()
    return resampled, chosen, pareto_k(log_weights.ravel())


def resample(log_weights: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Systematic resampling within each chain, in order, so that repeated draws stand side by side.

    R-hat and effective sample sizes then see what the weights have cost, as they see the stays of a Markov chain.

    Parameters
    ----------
    log_weights : numpy.ndarray of shape (chain, draw)
    u : numpy.ndarray of shape (chain,)
        In (0, 1).

    Returns
    -------
    numpy.ndarray of int, shape (chain, draw)
        Positions within the chain, ascending.
    """
    n = log_weights.shape[1]
    largest = log_weights.max(axis=1, keepdims=True)
    weights = np.exp(log_weights - np.where(np.isfinite(largest), largest, 0.0))
    ends = np.cumsum(weights, axis=1)
    goals = (u[:, None] + np.arange(n)) / n * ends[:, -1:]
    found = [np.searchsorted(end, goal, side="right") for end, goal in zip(ends, goals, strict=True)]
    return np.minimum(found, n - 1)


def refuse_weights(k_hat: float, resampled: State) -> str:
    """Why the sampler should run again; empty where the weighted draws will do."""
    if not k_hat <= K_HAT_LIMIT:
        return f"Pareto k-hat of the weights is {k_hat:.2f} (limit {K_HAT_LIMIT})"
    points = np.vstack([resampled.theta, resampled.s])[:, resampled.which]
    found = convergence(np.moveaxis(points, 0, -1))
    ess, least = min(found.ess_bulk.min(), found.ess_tail.min()), least_ess(resampled.which.shape)
    return "" if ess >= least else f"the weighted draws are worth {ess:.0f} (at least {least:.0f})"
