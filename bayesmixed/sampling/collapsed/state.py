"""What a fit keeps, and what can be done with it: sample, learn from new rows, leave rows out.

New rows need no new fit: the existing draws are weighted, or new chains are started.

The statistics of old and new rows add up, so the density of all of them is available. With theta and s the group
covariances and log(sigma) of a draw, its weight is

    p(y_old, y_new | theta, s) / p(y_old | theta, s) = p(y_new | y_old, theta, s),

with all effects integrated out. The draws are resampled with these weights, and the effects are drawn anew, exactly. If
the weights are too uneven, the sampler runs on the merged statistics.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from bayesmixed._compat import one_blas_thread
from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.design.summed.summed import Named
from bayesmixed.errors import SamplerError
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.effects import Points
from bayesmixed.gaussian.leave_one_out import leave_one_out
from bayesmixed.gaussian.statistics import working_products
from bayesmixed.keyed_random import uniforms
from bayesmixed.posterior.diagnostics import pareto_k
from bayesmixed.posterior.draws import Draws
from bayesmixed.sampling.clock import Clock
from bayesmixed.sampling.collapsed.assembly import assemble
from bayesmixed.sampling.collapsed.conditional import ConditionalMoments
from bayesmixed.sampling.collapsed.limits import are_small, too_large
from bayesmixed.sampling.collapsed.search import Sampled, sample_covariances
from bayesmixed.sampling.progress import Progress
from bayesmixed.sampling.report import shortcomings, summarise
from bayesmixed.sampling.resampling import K_HAT_LIMIT, resample


@dataclass(frozen=True)
class State:
    """What a fit keeps: the density of all its rows, and where its chains were.

    Attributes
    ----------
    density : CollapsedDensity
    theta : numpy.ndarray of shape (d, n)
        Distinct points of the chains, in the coordinates of ``density.covariances``.
    s : numpy.ndarray of shape (n,)
        log(sigma) there, working units.
    log_joint : numpy.ndarray of shape (n,)
        log p(y, theta, s).
    which : numpy.ndarray of int, shape (chain, draw)
        The point of every draw.
    common : numpy.ndarray of shape (k, n), optional
        Conditional means of the common effects at the points, then their packed covariances; kept if the effects are
        too many to store, and otherwise, or after loading a file, computed again.
    """

    STORED: ClassVar[tuple[str, ...]] = ("density", "theta", "s", "log_joint", "which")

    density: CollapsedDensity
    theta: np.ndarray
    s: np.ndarray
    log_joint: np.ndarray
    which: np.ndarray
    common: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Cached values are left out: they are recomputed from the fields when needed."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, sampled: Sampled) -> State:
        """Keep the points that the chains visited."""
        evaluated = sampled.run.evaluated
        every = cls(sampled.density, evaluated.theta, evaluated.s, evaluated.log_joint, sampled.run.chains.state)
        return every.visited()

    def visited(self) -> State:
        """The same draws, without the points that no draw is at."""
        seen = np.zeros(len(self.s), dtype=bool)
        seen[self.which] = True
        which = (np.cumsum(seen) - 1)[self.which]
        return State(self.density, self.theta[:, seen], self.s[seen], self.log_joint[seen], which)

    def points(self) -> Points:
        """The covariances at the points."""
        return Points(self.density.covariances.at(self.theta).roots, self.s, self.which.ravel())

    @cached_property
    def coefficients(self) -> ConditionalMoments | None:
        """Exact moments given the covariances, for a model with one factor; see `FitState.coefficients`."""
        if len(self.density.statistics.S) > 1:
            return None
        if self.common is None:
            return ConditionalMoments.of(self.density, self.points())
        p = len(self.density.residual.prior) - 1
        return ConditionalMoments(self.density, self.points(), self.common[:p], self.common[p:])

    def update(self, draws: Draws, spec: DesignSpec, design: Design, *, seed: int, progressbar: bool) -> Draws:
        """Learn from new rows; see `FitState.update`. ``diagnostics["reason"]`` says how it was done."""
        clock = Clock()
        chains, n_draws = draws.shape
        statistics = self.density.statistics + working_products(design, self.density.units)
        if reason := too_large(spec, statistics):
            raise SamplerError(reason)
        density = self.density.with_statistics(statistics)
        clock.lap("statistics")
        with one_blas_thread(are_small(density)):
            result, refusal = self._weighted(draws, spec, density, seed, clock)
        if refusal:
            result = sample_density(
                spec, density, draws=n_draws, chains=chains, seed=seed, progressbar=progressbar, clock=clock
            )
            result.diagnostics["reason"] = f"condition: sampled anew, as {refusal}"
        return result

    def _weighted(
        self, draws: Draws, spec: DesignSpec, density: CollapsedDensity, seed: int, clock: Clock
    ) -> tuple[Draws, str]:
        """The draws resampled for the density of all rows, and why they are not good enough; empty if they are."""
        log_joint = density.log_joint(self.theta, self.s)
        log_weights = np.nan_to_num(log_joint - self.log_joint, nan=-np.inf)[self.which]
        k_hat = pareto_k(log_weights.ravel())
        if not k_hat <= K_HAT_LIMIT:
            return draws, f"Pareto k-hat of the weights is {k_hat:.2f} (limit {K_HAT_LIMIT})"
        key = (seed, "resample", str(density.statistics.n))
        chosen = resample(log_weights, uniforms(key, (len(log_weights),)))
        which = np.take_along_axis(self.which, chosen, axis=1)
        resampled = State(density, self.theta, self.s, log_joint, which).visited()
        clock.lap("weights")
        acceptance = np.take_along_axis(draws.sample_stats["acceptance_rate"], chosen, axis=1)
        diagnostics = {
            "sampler": "collapsed",
            "reason": "condition: the draws were weighted by the new rows",
            "k_hat": k_hat,
            "acceptance": draws.diagnostics["acceptance"],
            "evaluations": len(self.s),
            "seconds": clock.seconds,
        }
        result = assemble(spec, resampled, seed, acceptance, diagnostics)
        clock.lap("effects")
        # draws that would cause a warning are not accepted here
        result.diagnostics.update(summary := summarise(result))
        return result, "; ".join(shortcomings(summary, result))

    def leave_one_out(self, draws: Draws, design: Design, keep: np.ndarray) -> np.ndarray:
        """Log density of each row given all others; see `FitState.leave_one_out`."""
        every = self.points()
        at, which = np.unique(every.which[keep], return_inverse=True)
        points = Points([root[..., at] for root in every.roots], every.s[at], which.ravel())
        return leave_one_out(self.density, points, design)

    def refit_without(self, draws: Draws, design: Design, row: int, *, seed: int, progressbar: bool) -> None:
        """Not offered; see `FitState.refit_without`."""


def sample_density(
    design: Named,
    density: CollapsedDensity,
    *,
    draws: int,
    chains: int,
    seed: int,
    progressbar: bool,
    clock: Clock,
) -> Draws:
    """Steps 2 to 5 for a prepared density; parameters as in `sample`."""
    rng = np.random.default_rng(seed)
    bar = Progress(progressbar, f"Sampling {density.dimension + 1} parameters")
    with bar as progress, one_blas_thread(are_small(density)):
        try:
            sampled = sample_covariances(density, draws=draws, chains=chains, rng=rng, advance=progress.advance)
            clock.lap("sample")
            run = sampled.run
            if run.refusal:
                raise SamplerError(f"the proposal distribution does not cover the posterior: {run.refusal}")
            diagnostics = {
                "sampler": "collapsed",
                "k_hat": run.k_hat,
                "acceptance": run.acceptance,
                "longest_stay": run.longest_stay,
                "proposals_per_draw": run.proposals_per_draw,
                "passes": sampled.passes,
                "modes": sampled.modes,
                "evaluations": sampled.evaluations,
                "seconds": clock.seconds,
            }
            state = State.of(sampled)
            result = assemble(design, state, seed, run.chains.acceptance, diagnostics, advance=progress.advance)
        except np.linalg.LinAlgError as error:
            raise SamplerError(f"the linear algebra failed: {error}") from error
    clock.lap("effects")
    return result
