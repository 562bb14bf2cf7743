"""From a density to a proposal that covers it, and to chains: modes, adaptation, the final run, the gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np

from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.posterior.diagnostics import pareto_k
from bayesmixed.sampling.collapsed.target import Evaluated, Target
from bayesmixed.sampling.independence.chains import Chains, longest_stay, walk
from bayesmixed.sampling.independence.modes import Mode, find_modes, peaks
from bayesmixed.sampling.independence.proposal import (
    Centres,
    Pool,
    StudentMixture,
    Warp,
    adapt,
    centres_of,
    efficiency,
    start,
)
from bayesmixed.sampling.resampling import K_HAT_LIMIT

# ---- the constants of the sampler, the same for every model
STARTS = (0.02, 0.5, 3.0)  # lambda where the search for modes begins
GRID = 4  # most axes that take these values one by one
ROUND = (500, 100, 4000)  # points of the first round of adaptation: at least, per dimension, at most
PROPOSALS, FEWER = 1.4, 0.7  # per kept draw, divided by the proposal's efficiency; if evaluations are expensive
THIN = 10  # most proposals per kept draw
MIN_PROPOSALS = 1000  # in a run, even if few draws are kept: the gates need them
PASSES = 3  # most final runs
K_HAT_WANTED = 0.5  # above it the run is repeated, above `K_HAT_LIMIT` it is rejected
STAY_WANTED, STAY_LIMIT = 0.01, 0.05  # share of a chain that the heaviest point may be expected to last; as above
ACCEPTANCE_LIMIT = 0.15
EDGE_LIMIT = 0.001  # share of the draws at the edge of what can be computed
# Expensive evaluations: floating point operations that a round and the final run may take, and points they always get
ROUND_FLOPS, MIN_ROUND = 2e9, 50
RUN_FLOPS, MIN_RUN = 2e11, 500  # the minimum is per chain
FEW_FLOPS, FEW_PROPOSALS = 1e10, 4000  # of a run above which proposals are fewer, and how few at least


@dataclass(frozen=True)
class Run:
    """Chains over one run of evaluated proposals, and what the gates measured.

    Attributes
    ----------
    evaluated : Evaluated
        The chains' starts, then their proposals.
    chains : Chains
    k_hat : float
        Pareto k of the importance weights of the proposals.
    acceptance : float
        Share of accepted proposals, the mean over draws.
    longest_stay : float
        Share of a chain that the heaviest proposal is expected to last.
    at_edge : float
        Share of the draws at the edge of what can be computed.
    proposals_per_draw : float
        Below 1, a proposal is several draws.
    """

    evaluated: Evaluated
    chains: Chains
    k_hat: float
    acceptance: float
    longest_stay: float
    at_edge: float
    proposals_per_draw: float

    @property
    def wanted(self) -> bool:
        """Whether the proposal needs no further learning."""
        return self.k_hat <= K_HAT_WANTED and self.longest_stay <= STAY_WANTED / min(1, self.proposals_per_draw)

    @property
    def refusal(self) -> str:
        """Why the chains cannot be trusted, in words; empty if they can."""
        found = []
        if not self.k_hat <= K_HAT_LIMIT:
            found.append(f"Pareto k-hat is {self.k_hat:.2f} (limit {K_HAT_LIMIT})")
        if not self.acceptance >= ACCEPTANCE_LIMIT:
            found.append(f"acceptance is {self.acceptance:.2f} (at least {ACCEPTANCE_LIMIT})")
        if not self.longest_stay <= STAY_LIMIT:
            found.append(f"a point is expected to last {self.longest_stay:.0%} of a chain (at most {STAY_LIMIT:.0%})")
        if not self.at_edge <= EDGE_LIMIT:
            edge = "a group sd of more than 60,000 times sigma, or a correlation of 1"
            found.append(f"{self.at_edge:.1%} of the draws have {edge}")
        return "; ".join(found)


@dataclass(frozen=True)
class Sampled:
    """The chains of a model's covariances and sigma.

    Attributes
    ----------
    density : CollapsedDensity
        The model's, perhaps with another order of the effects in the vines.
    run : Run
        The last one.
    passes, modes, evaluations : int
        Number of runs, of modes found, and of points at which the density was evaluated.
    """

    density: CollapsedDensity
    run: Run
    passes: int
    modes: int
    evaluations: int


def sample_covariances(
    density: CollapsedDensity, *, draws: int, chains: int, rng: np.random.Generator, advance: Callable[[int], None]
) -> Sampled:
    """Draw the group covariances and sigma.

    Parameters
    ----------
    density : CollapsedDensity
    draws, chains : int
        Kept draws per chain, number of chains.
    rng : numpy.random.Generator
    advance : callable
        Called with the number of points after every chunk of evaluations.
    """
    density, modes, used = locate(density, advance)
    warp = Warp(modes[0].x[: density.covariances.n_sds])
    target = Target(density, warp, advance, used)
    centres = centres_of([_warped(mode, warp) for mode in modes])
    size = round_size(density)
    proposal, pool, centres, share = adapt(target.integrated, start(centres), centres, rng, size)
    for passes in range(1, PASSES + 1):
        run = walk_run(target, proposal, pool, Shape.of(density, share, draws, chains), rng)
        if run.wanted or passes == PASSES:
            break
        proposal, centres, share = learn(target, pool, centres, rng, size)
    return Sampled(density, run, passes, len(modes), target.evaluations)


def round_size(density: CollapsedDensity) -> int:
    """Points of the first round of adaptation."""
    least, per_dimension, most = ROUND
    wanted = min(most, max(least, per_dimension * density.dimension))
    return max(min(wanted, int(ROUND_FLOPS / density.flops)), min(wanted, MIN_ROUND * density.dimension))


def locate(density: CollapsedDensity, advance: Callable[[int], None]) -> tuple[CollapsedDensity, list[Mode], int]:
    """Find the modes; the weakest effect of a block goes last in its vine.

    If the data say little about an effect's sd, they say little about its correlations; if it is last, these do not
    enter the other rows of the Cholesky factor.
    """
    target = Target(density, None, advance)
    modes = find_modes(target.integrated, peaks(target.integrated, _axes(density)))
    sds = np.sqrt(np.diag(modes[0].covariance))
    blocks, first = [], 0
    for factor in density.covariances.factors:
        own = sds[first : first + len(factor.sds)].tolist()
        blocks.append(tuple(tuple(sorted(block, key=own.__getitem__)) for block in factor.blocks))
        first += len(own)
    longest = max(len(block) for factor in blocks for block in factor)
    if longest > 2 and tuple(blocks) != tuple(factor.blocks for factor in density.covariances.factors):
        density = density.with_covariances(density.covariances.reordered(blocks))
        again = Target(density, None, advance, target.evaluations)
        starts = np.array([mode.x for mode in modes]).T
        starts[density.covariances.n_sds :] = 0.0
        return density, find_modes(again.integrated, starts), again.evaluations
    return density, modes, target.evaluations


def _axes(density: CollapsedDensity) -> list[tuple[np.ndarray, tuple[float, ...]]]:
    """Directions of the grid of starts, with log(lambda) along each: every sd, every factor's sds, or all sds.

    A slope whose covariance is sampled far from zero gets an additional start, where its contribution at zero is about
    the intercept's sd: the prior of the correlation, stated at zero, may put a mode there.
    """
    d, K = density.dimension, density.covariances.n_sds
    single = [[k] for k in range(K)]
    ends = np.cumsum([0, *(len(factor.sds) for factor in density.covariances.factors)])
    by_factor = [list(range(a, b)) for a, b in pairwise(ends)]
    for groups in (single, by_factor, [list(range(K))]):
        if len(groups) <= GRID:
            break
    far = density.covariances.far_scales
    axes = []
    for group in groups:
        direction = np.zeros(d)
        direction[group] = 1.0
        extra = {float(far[k] * STARTS[1]) for k in group if far[k] < 1}
        axes.append((direction, tuple(np.log(sorted({*STARTS, *extra})))))
    return axes


def _warped(mode: Mode, warp: Warp) -> Mode:
    """A mode in the coordinates of the warp."""
    u = warp.warp(mode.x)
    slope = warp.slope(u)
    return Mode(u, mode.log_density + np.log(slope).sum(), mode.covariance / np.outer(slope, slope))


@dataclass(frozen=True)
class Shape:
    """Size of a run: kept draws per chain, chains, proposals per chain."""

    draws: int
    chains: int
    proposals: int

    @classmethod
    def of(cls, density: CollapsedDensity, share: float, draws: int, chains: int) -> Shape:
        """Plan a run for a proposal of efficiency `share`, within what evaluations may cost."""
        kept = draws * chains
        wanted, few = (kept * min(number / share, THIN) for number in (PROPOSALS, FEWER))
        if wanted * density.flops > FEW_FLOPS:
            wanted = max(few, kept, min(wanted, FEW_PROPOSALS))
        affordable = max(MIN_RUN, int(RUN_FLOPS / density.flops / chains))
        return cls(draws, chains, min(ceil(max(wanted, MIN_PROPOSALS) / chains), affordable))


def walk_run(target: Target, proposal: StudentMixture, pool: Pool, shape: Shape, rng: np.random.Generator) -> Run:
    """Evaluate fresh proposals with sigma, walk the chains over them, and add the proposals to the pool."""
    chains, n = shape.chains, shape.proposals
    weights = pool.weights
    # a chain starts at a point of the adaptation, not at one of its own proposals
    starts = pool.x[:, rng.choice(len(weights), chains, p=weights)]
    u = np.hstack([starts, proposal.sample(rng, chains * n)])
    evaluated = target.with_sigma(u, rng)
    log_w = evaluated.log_weight - proposal.log_density(u)
    fresh = slice(chains, None)
    pool.add(u[:, fresh], evaluated.log_integrated[fresh], proposal)
    order = np.hstack([np.arange(chains)[:, None], chains + np.arange(chains * n).reshape(chains, n)])
    walked = walk(log_w[order], order, rng, shape.draws)
    per_draw = n / shape.draws
    return Run(
        evaluated,
        walked,
        k_hat=pareto_k(log_w[fresh]),
        acceptance=float(walked.acceptance.mean()),
        longest_stay=longest_stay(log_w[fresh]) / per_draw / max(shape.draws, MIN_PROPOSALS // chains),
        at_edge=float(evaluated.at_edge[walked.state].mean()),
        proposals_per_draw=per_draw,
    )


def learn(
    target: Target, pool: Pool, centres: Centres, rng: np.random.Generator, size: int
) -> tuple[StudentMixture, Centres, float]:
    """Fit the proposal to all points, including the last run's; do one more round; fit again.

    Returns
    -------
    proposal : StudentMixture
    centres : list of (mean, covariance)
    share : float
        Efficiency of the round.
    """
    proposal, centres = pool.fit(centres)
    x = proposal.sample(rng, size)
    log_p = target.integrated(x)
    pool.add(x, log_p, proposal)
    return *pool.fit(centres), efficiency(log_p - proposal.log_density(x))
