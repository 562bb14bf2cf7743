"""Where sampling starts: penalised quasi-likelihood, alternating between effects and parameters.

Breslow & Clayton (1993), Approximate inference in generalized linear mixed models, Journal of the American Statistical
Association 88, 9-25. First the effects' mode at fixed parameters by Newton's method on working Gaussians, then the
mode of the parameters under the working Gaussian there.
"""

from __future__ import annotations

import numpy as np

from bayesmixed.chunks import allowed, chunks
from bayesmixed.sampling.independence.modes import Mode, find_modes
from bayesmixed.sampling.independence.proposal import Warp
from bayesmixed.sampling.transport.constants import (
    HALVINGS,
    MAX_SD,
    NEWTON,
    NEWTON_DONE,
    OUTER,
    STARTS,
    STEP_DONE,
    STEP_LIMIT,
)
from bayesmixed.sampling.transport.coordinates import Coordinates, Parameters, Points
from bayesmixed.sampling.transport.target import Target, transport
from bayesmixed.sampling.transport.working.products import WorkingGaussian
from bayesmixed.sampling.transport.working.rows import Reference, Rows

_NOWHERE = -1e300  # log density of a point that is ruled out; finite, so that differences stay finite


def find_start(rows: Rows, parameters: Parameters) -> Target:
    """A target whose reference and coordinates are roughly those at the posterior's mode.

    Raises
    ------
    SamplerError
        The density is zero where the search begins.
    """
    x, w = _first(parameters), np.zeros((rows.layout.size, 1))
    for outer in range(OUTER):
        w = newton(rows, parameters.at(x[:, None]), w)
        starts = x[:, None] if outer else _starts(parameters, x)
        mode = _mode(rows, parameters, x, w, starts)
        step = mode.x - x
        longest = np.abs(step).max(initial=0.0)
        x = x + step * min(1.0, STEP_LIMIT / max(longest, STEP_LIMIT))
        if longest < STEP_DONE:
            break
    points = parameters.at(x[:, None])
    reference = reference_at(rows, points, newton(rows, points, w), follows=True)
    return Target.of(rows, _coordinates(parameters, x, mode), reference)


def _first(parameters: Parameters) -> np.ndarray:
    """Sds of `STARTS`, no correlations, auxiliary parameters at their priors' medians; (d,)."""
    auxiliary = [
        np.log(prior.quantile(np.array(0.5)) - parameters.floors.get(name, 0.0))
        for name, prior in parameters.priors.items()
    ]
    covariances = parameters.covariances
    x = np.zeros(covariances.dimension)
    x[: covariances.n_sds] = STARTS[0]
    return np.concatenate([x, auxiliary])


def _starts(parameters: Parameters, x: np.ndarray) -> np.ndarray:
    """Where the first search for a mode begins, (d, k)."""
    found = np.repeat(x[:, None], len(STARTS), axis=1)
    found[: parameters.covariances.n_sds] = STARTS
    return found


def newton(rows: Rows, points: Points, w: np.ndarray) -> np.ndarray:
    """The mode of the effects, (size, 1), at one point of the parameters, by Newton's method from `w`."""
    v = _standardised(rows, points, w)
    value = _penalised(rows, points, w, v)
    for _ in range(NEWTON):
        gaussian = WorkingGaussian.of(rows, reference_at(rows, points, w))
        goal = transport(rows, gaussian, points).effects(np.zeros_like(w))  # the mean: a draw without noise
        goal_v, share = _standardised(rows, points, goal), 1.0
        for _ in range(HALVINGS):
            tried = w + share * (goal - w)
            reached = _penalised(rows, points, tried, v + share * (goal_v - v))
            if reached > value:
                break
            share /= 2
        if not reached > value:
            break
        gained, w, v, value = reached - value, tried, v + share * (goal_v - v), reached
        if gained < NEWTON_DONE:
            break
    return w


def reference_at(rows: Rows, points: Points, w: np.ndarray, *, follows: bool = False) -> Reference:
    """The quadratic approximation of the rows' log densities at one point and its effects, (size, 1).

    The search for a mode uses one that follows no parameter: with one that does, the density at fixed linear predictors
    has no maximum.
    """
    lin = rows.linear(w)
    weight, score, slopes = rows.working(lin, points.auxiliary)
    followed = {name: values[:, 0] for name, values in slopes.items()} if follows else {}
    at = {name: float(points.auxiliary[name][0]) for name in followed}
    return Reference.about(lin[:, 0], weight[:, 0], score[:, 0], followed, at)


def _standardised(rows: Rows, points: Points, w: np.ndarray) -> np.ndarray:
    """Effects in units of their prior, (size, 1), in which they are N(0, I)."""
    layout, v = rows.layout, w.copy()
    for i, f in enumerate(layout.factors):
        own = layout.own(v, i)
        own[..., 0] = np.linalg.solve(points.roots[f][..., 0], own[..., 0])
    return v


def _penalised(rows: Rows, points: Points, w: np.ndarray, v: np.ndarray) -> float:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a step that is too long
        value = float(rows.log_density(rows.linear(w), points.auxiliary)[0] - 0.5 * np.square(v).sum())
    return value if np.isfinite(value) else -np.inf


def _mode(rows: Rows, parameters: Parameters, x: np.ndarray, w: np.ndarray, starts: np.ndarray) -> Mode:
    """The mode of the parameters under the working Gaussian at the effects w, (size, 1), effects integrated out.

    Auxiliary parameters are learned from the rows' log density minus the quadratic, at the fixed linear predictors M w.
    """
    if not parameters.dimension:
        return Mode(x, 0.0, np.empty((0, 0)))
    reference = reference_at(rows, parameters.at(x[:, None]), w)
    gaussian, lin = WorkingGaussian.of(rows, reference), rows.linear(w)
    own = lin[:, 0] * (reference.a - 0.5 * reference.W * lin[:, 0])

    def log_density(x: np.ndarray) -> np.ndarray:
        found = np.empty(x.shape[1])
        width = 8 * (rows.layout.size + rows.n * bool(parameters.priors))
        for some in chunks(x.shape[1], width, allowed().points):
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # far out
                points = parameters.at(x[:, some])
                factorised = transport(rows, gaussian, points, width=1)
                value = points.log_prior + factorised.log_integral
                if parameters.priors:
                    value = value + rows.log_density(lin, points.auxiliary) - np.square(factorised.scale) * own.sum()
            found[some] = np.where(np.isfinite(value), value, _NOWHERE)
        return found

    return find_modes(log_density, starts)[0]


def _coordinates(parameters: Parameters, x: np.ndarray, mode: Mode) -> Coordinates:
    """Coordinates whitened by the curvature at the mode, in those of the warp."""
    warp = Warp(x[: parameters.covariances.n_sds])
    mu = warp.warp(x) if len(x) else x
    slope = warp.slope(mu)
    covariance = mode.covariance / np.outer(slope, slope)
    sd = np.sqrt(np.diag(covariance))
    narrowed = np.minimum(1.0, MAX_SD / sd)
    return Coordinates(parameters, warp, mu, np.linalg.cholesky(covariance * np.outer(narrowed, narrowed)))
