"""From the data to chains and frozen proposals: a centre, a random walk, and two fits of a t distribution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.sampling.gibbs.chains import Chains
from bayesmixed.sampling.gibbs.constants import (
    CANDIDATES,
    FEW,
    LARGE,
    NEARLY_NESTED,
    PER_DIMENSION,
    REFITS,
    SETTLE,
    STEPS,
    WALK,
    WIDE,
    WIDER,
)
from bayesmixed.sampling.gibbs.joint.nest import nests_of
from bayesmixed.sampling.gibbs.joint.redraw import Cells, Redraw, rate
from bayesmixed.sampling.gibbs.model import Arrangement
from bayesmixed.sampling.gibbs.proposal import LogDensity, Spread, walk
from bayesmixed.sampling.gibbs.sweep import Sampler, Steps, sweep

Read = Callable[[], Cells | None]  # cells of the rows

_TARGET = 0.3  # target share of accepted steps of the random walk


def centred(density: CollapsedDensity) -> tuple[Arrangement, np.ndarray, float]:
    """The model centred at a fit of its effects, and from the fit: root mean squares of all effects (K,), and sigma.

    All columns are fitted by ridge regression. If sigma turns out small compared with the effects, the ridge is made
    smaller, so that residuals are small as well and their sums of squares do not cancel.
    """
    plain, ridge = Arrangement.of(density), 1.0
    sizes, total, sigma = np.ones(density.covariances.n_sds), None, 1.0
    arrangement = plain
    for _ in range(REFITS):
        fit, shared = _ridge_fit(arrangement, ridge)
        arrangement = arrangement.about(fit)
        total = [factor.centre for factor in arrangement.factors]
        sizes, sigma = _sizes(density, arrangement, total, shared)
        smaller = np.square(sigma / max(sizes.max(), sigma))
        if smaller > ridge / 100:
            break
        ridge = smaller
    return arrangement, sizes, sigma


def _ridge_fit(arrangement: Arrangement, ridge: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Effects (q, J) of the large factors, and the shared ones (K - 1,), by conjugate gradients on y'."""
    factors, K = arrangement.factors, arrangement.columns.total
    sizes = [factor.q * factor.J for factor in factors]
    ends = np.cumsum([K - 1, *sizes])

    def product(x: np.ndarray) -> np.ndarray:
        shared, *flat = np.split(x.ravel(), ends[:-1])
        result = [arrangement.VV[:-1, :-1] @ shared]
        for i, factor in enumerate(factors):
            b = flat[i].reshape(factor.q, factor.J)
            own = np.einsum("ekj,kj->ej", factor.S, b).ravel() + ridge * flat[i] + factor.T[:-1].T @ shared
            result.append(own + sum(arrangement.crossing[i, j] @ flat[j] for j in range(len(factors)) if j != i))
            result[0] = result[0] + factor.T[:-1] @ flat[i]
        return np.concatenate(result)

    diagonal = np.concatenate(
        [np.diag(arrangement.VV)[:-1], *(np.einsum("eej->ej", factor.S).ravel() + ridge for factor in factors)]
    )
    scale = 1 / np.sqrt(np.maximum(diagonal, 1e-8 * diagonal.max()))
    right = np.concatenate([arrangement.VV[:-1, -1], *(factor.T[-1] for factor in factors)])
    operator = LinearOperator((ends[-1], ends[-1]), matvec=lambda x: scale * product(scale * x), dtype=float)
    found, _ = cg(operator, scale * right, maxiter=100)  # as close as it gets: any centre is valid
    shared, *flat = np.split(scale * found, ends[:-1])
    return [b.reshape(factor.q, factor.J) for b, factor in zip(flat, factors, strict=True)], shared


def _sizes(
    density: CollapsedDensity, arrangement: Arrangement, centres: list[np.ndarray], shared: np.ndarray
) -> tuple[np.ndarray, float]:
    """Root mean squares of all factors' effects, (K,), and of the residuals, from a fit."""
    columns, by_factor = arrangement.columns, {}
    for factor, centre in zip(arrangement.factors, centres, strict=True):
        by_factor[factor.position] = centre
    for f, b in zip(columns.factors, columns.split(shared[: columns.m]), strict=True):
        by_factor[f] = b
    sizes = np.concatenate([np.sqrt(np.square(by_factor[f]).mean(axis=1)) for f in range(len(by_factor))])
    v = np.append(-shared, 1.0)
    return np.maximum(sizes, 1e-8), float(np.sqrt(max(v @ arrangement.VV @ v, 1e-24) / density.statistics.n))


def start(density: CollapsedDensity, chains: int, rng: np.random.Generator) -> Chains:
    """Chains scattered around the fit's covariances."""
    arrangement, sizes, sigma = centred(density)
    theta = np.zeros((density.dimension, chains))
    n_sds = density.covariances.n_sds
    theta[:n_sds] = np.log(np.maximum(sizes, 0.01 * sigma))[:, None]
    s = np.full(chains, max(np.log(sigma), density.residual.log_floor + 0.5))
    return Chains(arrangement, theta + 0.3 * rng.standard_normal(theta.shape), s + 0.1 * rng.standard_normal(chains))


def warm_up(
    chains: Chains, cells: Read, rng: np.random.Generator, advance: Callable[[int], None]
) -> tuple[Sampler, Steps, Cells | None]:
    """Bring the chains to the posterior, and make the proposals.

    `advance` is called after every sweep; `cells` reads the cells of the rows if factors are nearly nested, so that
    their effects have to be redrawn.
    """
    arrangement = chains.arrangement
    steps = Steps(nests_of(arrangement))
    sizes = _first_sizes(arrangement.density)
    walks = [_first_step(sizes[block.index], sizes[-1]) for block in (*arrangement.conditionals, *steps.nests)]
    sweeps, found = max(WALK, PER_DIMENSION * max(len(walk.mean) for walk in walks)), None
    for _ in range(3):
        seen = _walk_part(chains, walks, steps, rng, sweeps=sweeps // 3, advance=advance)
        if steps.redraw is None and rate(chains, rng) > NEARLY_NESTED:
            found = cells()
            steps.redraw = None if found is None else Redraw(arrangement, found)
        walks = [Spread.fitted(points, 2.38**2 / len(points)) for points in seen]
    C = len(chains.s)
    proposals = [Spread.fitted(points, WIDER) for points in seen]
    integrated = [*arrangement.factors, *(arrangement.factors[nest.inner] for nest in steps.nests)]
    candidates = [FEW if factor.products.shape[1] > LARGE else CANDIDATES for factor in integrated]
    sampler = Sampler(proposals, candidates, rng, np.zeros(C), np.zeros(C))
    kept = []
    for _ in range(SETTLE):
        sweep(chains, sampler, steps, rng)
        advance(C)
        kept.append(steps.points(arrangement, chains.theta, chains.s))
    sampler.proposals = [Spread.fitted(np.hstack(points), WIDE) for points in zip(*kept, strict=True)]
    return sampler, steps, found


def _first_sizes(density: CollapsedDensity) -> np.ndarray:
    """How precisely J effects determine their log sd and correlations, and n rows log(sigma), (d + 1,)."""
    statistics, sds, vines = density.statistics, [], []
    for factor, J in zip(density.covariances.factors, statistics.n_levels, strict=True):
        sds += [1 / np.sqrt(J)] * len(factor.sds)
        vines += [2 / np.sqrt(J)] * sum(len(block) * (len(block) - 1) // 2 for block in factor.blocks)
    return np.array([*sds, *vines, 1 / np.sqrt(2 * statistics.n)])


def _first_step(coordinates: np.ndarray, sigma: float) -> Spread:
    """Steps of a block's random walk before anything is known."""
    size = np.append(coordinates, sigma)
    return Spread(np.zeros(len(size)), np.diag(size) * 2.38 / np.sqrt(len(size)))


def _walk_part(
    chains: Chains,
    walks: list[Spread],
    steps: Steps,
    rng: np.random.Generator,
    *,
    sweeps: int,
    advance: Callable[[int], None],
) -> list[np.ndarray]:
    """Sweeps of the random walk; returns each block's points in the last two thirds, (D, n)."""
    seen, scale = [], np.ones(len(walks))

    def move(i: int, x: np.ndarray, log_density: LogDensity) -> np.ndarray:
        step = Spread(walks[i].mean, walks[i].root * scale[i]).leading(len(x))
        whole = len(x) == len(walks[i].mean)
        x, moved = walk(x, log_density, step, STEPS, rng)
        if whole:
            scale[i] *= np.exp(0.3 * (moved.mean() - _TARGET))
        return x

    for done in range(sweeps):
        sweep(chains, move, steps, rng)
        advance(len(chains.s))
        if done >= sweeps // 3:
            seen.append(steps.points(chains.arrangement, chains.theta, chains.s))
    return [np.hstack(points) for points in zip(*seen, strict=True)]
