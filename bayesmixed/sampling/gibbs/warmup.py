"""From the data to chains and frozen proposals: a centre, a random walk, and two fits of a t distribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.sampling.gibbs.chains import Chains, Move, Updated
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
from bayesmixed.sampling.gibbs.model import Arrangement
from bayesmixed.sampling.gibbs.proposal import LogDensity, Spread, resample, walk
from bayesmixed.sampling.gibbs.redraw import Cells, Redraw, rate, rescale

Read = Callable[[tuple[int, ...]], Cells | None]  # cells of the large factors

_TARGET = 0.3  # share of the random walk's steps to be accepted


@dataclass
class Sampler:
    """Moves by i-SIR with the proposals that the warm-up has made.

    Attributes
    ----------
    proposals : list of Spread
    candidates : list of int
        Fresh points of an update.
    rng : numpy.random.Generator
    moved : numpy.ndarray of shape (C,)
        Share of the last sweep's updates that moved.
    log_density : numpy.ndarray of shape (C,)
        Of the last update.
    """

    proposals: list[Spread]
    candidates: list[int]
    rng: np.random.Generator
    moved: np.ndarray
    log_density: np.ndarray

    def __call__(self, i: int, x: np.ndarray, log_density: LogDensity) -> np.ndarray:
        """A step of i-SIR, of all coordinates of a conditional or of its first ones."""
        whole = len(x) == len(self.proposals[i].mean)
        proposal = self.proposals[i].leading(len(x))
        new, moved, density = resample(x, log_density, proposal, self.candidates[i] if whole else FEW, self.rng)
        if whole:
            self.moved, self.log_density = self.moved + moved / len(self.proposals), density
        return new


def centred(density: CollapsedDensity) -> tuple[Arrangement, np.ndarray, float]:
    """The model about a fit of its effects, and from the fit: root mean squares of all effects (K,), and sigma.

    The fit is of all columns by ridge regression. Where sigma is small beside the effects, residuals are, and sums of
    squares of them do not cancel: the ridge is then made smaller.
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
    found, _ = cg(operator, scale * right, maxiter=100)  # as near as it gets: any centre is right
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
    """Chains about what the fit says of the covariances, apart from each other."""
    arrangement, sizes, sigma = centred(density)
    theta = np.zeros((density.dimension, chains))
    n_sds = density.covariances.n_sds
    theta[:n_sds] = np.log(np.maximum(sizes, 0.01 * sigma))[:, None]
    s = np.full(chains, max(np.log(sigma), density.residual.log_floor + 0.5))
    return Chains(arrangement, theta + 0.3 * rng.standard_normal(theta.shape), s + 0.1 * rng.standard_normal(chains))


def warm_up(
    chains: Chains, cells: Read, rng: np.random.Generator, advance: Callable[[int], None]
) -> tuple[Sampler, Redraw | None, Cells | None]:
    """Bring the chains to the posterior, and make the proposals.

    `advance` is told of every sweep; `cells` reads those of the large factors where they are nearly nested, so that
    their effects have to be redrawn.
    """
    arrangement = chains.arrangement
    conditionals = arrangement.conditionals
    sweeps = max(WALK, PER_DIMENSION * max(c.dimension for c in conditionals))
    steps = [_first_step(arrangement, i) for i in range(len(conditionals))]
    redraw, found = None, None
    for _ in range(3):
        seen = _walk_part(chains, steps, redraw, rng, sweeps=sweeps // 3, advance=advance)
        if redraw is None and rate(chains, rng) > NEARLY_NESTED:
            found = cells(tuple(factor.position for factor in arrangement.factors))
            redraw = None if found is None else Redraw(arrangement, found)
        steps = [Spread.fitted(points, 2.38**2 / len(points)) for points in seen]
    C = len(chains.s)
    proposals = [Spread.fitted(points, WIDER) for points in seen]
    candidates = [_candidates(c.factor.products.shape[1]) for c in conditionals]
    sampler = Sampler(proposals, candidates, rng, np.zeros(C), np.zeros(C))
    kept: list[list[np.ndarray]] = [[] for _ in conditionals]
    for _ in range(SETTLE):
        sweep(chains, sampler, redraw, rng)
        advance(C)
        for i, points in enumerate(kept):
            points.append(chains.point(i))
    sampler.proposals = [Spread.fitted(np.hstack(points), WIDE) for points in kept]
    return sampler, redraw, found


def _candidates(entries: int) -> int:
    return FEW if entries > LARGE else CANDIDATES


def _first_step(arrangement: Arrangement, i: int) -> Spread:
    """Steps of the random walk before anything is known: what J effects tell of their sd, and n rows of sigma."""
    conditional, density = arrangement.conditionals[i], arrangement.density
    size = []
    for f in (conditional.factor.position, *conditional.columns.factors):
        size += [1 / np.sqrt(density.statistics.n_levels[f])] * density.statistics.n_effects[f]
    size += [2 / np.sqrt(conditional.factor.J)] * (conditional.dimension - 1 - len(size))
    size.append(1 / np.sqrt(2 * density.statistics.n))
    return Spread(np.zeros(len(size)), np.diag(size) * 2.38 / np.sqrt(len(size)))


def _walk_part(
    chains: Chains,
    steps: list[Spread],
    redraw: Redraw | None,
    rng: np.random.Generator,
    *,
    sweeps: int,
    advance: Callable[[int], None],
) -> list[np.ndarray]:
    """Sweeps of the random walk; the points of the second half of every conditional, (D, n)."""
    seen: list[list[np.ndarray]] = [[] for _ in steps]
    scale = np.ones(len(steps))

    def move(i: int, x: np.ndarray, log_density: LogDensity) -> np.ndarray:
        step = Spread(steps[i].mean, steps[i].root * scale[i]).leading(len(x))
        whole = len(x) == len(steps[i].mean)
        x, moved = walk(x, log_density, step, STEPS, rng)
        if whole:
            scale[i] *= np.exp(0.3 * (moved.mean() - _TARGET))
        return x

    for done in range(sweeps):
        sweep(chains, move, redraw, rng)
        advance(len(chains.s))
        if done >= sweeps // 3:
            for i, points in enumerate(seen):
                points.append(chains.point(i))
    return [np.hstack(points) for points in seen]


def sweep(
    chains: Chains, move: Move, redraw: Redraw | None, rng: np.random.Generator, last: np.ndarray | None = None
) -> tuple[list[Updated], int]:
    """An update of every large factor, the largest after a redraw of the others' effects where there is one.

    Effects that are redrawn leave those of the largest factor behind, whose update follows at once.

    Parameters
    ----------
    chains : Chains
    move : callable
        See `Chains.update`.
    redraw : Redraw or None
    rng : numpy.random.Generator
    last : numpy.ndarray of shape (q, J, C), optional
        Noise of the largest factor's effects; default: from `rng`.

    Returns
    -------
    updates : list of Updated
    iterations : int
        Of conjugate gradients.
    """
    updates, iterations = [], 0
    for i, deviations in enumerate(chains.deviations):
        largest = i == len(chains.deviations) - 1
        if largest and redraw is not None:
            iterations = redraw(chains, rng)
            rescale(chains, move)
        noise = last if largest and last is not None else rng.standard_normal(deviations.shape)
        updates.append(chains.update(i, move, rng.standard_normal(chains.shared.shape), noise))
    return updates, iterations
