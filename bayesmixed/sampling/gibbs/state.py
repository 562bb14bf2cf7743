"""What a fit keeps, and what can be done with it: sample, learn from new rows, leave rows out.

The statistics of new rows are added to those of the old ones, and new chains run on all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from bayesmixed._compat import one_blas_thread
from bayesmixed.chunks import allowed, chunks
from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.design.summed.summed import Named
from bayesmixed.errors import SamplerError
from bayesmixed.gaussian.batched import quadratic_form, total
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.leave_one_out import last_step, left_out_density
from bayesmixed.gaussian.statistics import working_products
from bayesmixed.posterior.draws import Draws
from bayesmixed.sampling.clock import Clock
from bayesmixed.sampling.gibbs.chains import Chains
from bayesmixed.sampling.gibbs.constants import CHAINS
from bayesmixed.sampling.gibbs.factor import LargeFactor
from bayesmixed.sampling.gibbs.joint.redraw import Cells, rate
from bayesmixed.sampling.gibbs.limits import too_large
from bayesmixed.sampling.gibbs.model import Arrangement, scaled, shared_columns
from bayesmixed.sampling.gibbs.run import Run
from bayesmixed.sampling.gibbs.warmup import Read, start, warm_up
from bayesmixed.sampling.progress import Progress


@dataclass(frozen=True)
class State:
    """What a fit keeps.

    Attributes
    ----------
    density : CollapsedDensity
        The model with the statistics of all its rows.
    theta : numpy.ndarray of shape (d, S)
        Coordinates of ``density.covariances``, on the absolute scale, of every draw, chain after chain.
    s : numpy.ndarray of shape (S,)
        log(sigma), working units.
    cells : Cells or None
        Of the rows, if the step for nearly nested factors needs them.
    """

    STORED: ClassVar[tuple[str, ...]] = ("density", "theta", "s", "cells")

    density: CollapsedDensity
    theta: np.ndarray
    s: np.ndarray
    cells: Cells | None

    def __getstate__(self) -> dict[str, Any]:
        """Cached values are left out: they are recomputed from the fields when needed."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def coefficients(self) -> None:
        """Unknown; see `FitState.coefficients`."""
        return None

    def update(self, draws: Draws, spec: DesignSpec, design: Design, *, seed: int, progressbar: bool) -> Draws:
        """Learn from new rows; see `FitState.update`."""
        clock = Clock()
        chains, n_draws = draws.shape
        statistics = self.density.statistics + working_products(design, self.density.units)
        if reason := too_large(spec, chains * n_draws, statistics):
            raise SamplerError(reason)
        density = self.density.with_statistics(statistics)
        clock.lap("statistics")

        def cells() -> Cells | None:
            return None if self.cells is None else self.cells + Cells.of(design, density.units)

        result = sample_density(
            spec, density, cells, draws=n_draws, chains=chains, seed=seed, progressbar=progressbar, clock=clock
        )
        result.diagnostics["reason"] = "condition: sampled anew, with the statistics of all rows"
        return result

    def leave_one_out(self, draws: Draws, design: Design, keep: np.ndarray) -> np.ndarray:
        """Log density of each row given all others; see `FitState.leave_one_out`.

        Covariances, sigma and the effects of all large factors except the largest are those of the draw; the rest is
        integrated out.
        """
        arrangement = Arrangement.of(self.density)
        found = np.empty((len(keep), design.n_rows))
        last = arrangement.factors[-1]
        for some in chunks(len(keep), last.q * last.J * arrangement.columns.total, allowed().working):
            at = keep[some]
            chains = Chains(arrangement, self.theta[:, at], self.s[at])
            for i, factor in enumerate(arrangement.factors[:-1]):
                b = draws.flat(f"b_{design.groups[factor.position].name}")[at]
                chains.place(
                    i, self.density.units.working_effects(factor.position, np.moveaxis(b, 0, -1).swapaxes(0, 1))
                )
            found[some] = _left_out(chains, design)
        return found

    def refit_without(self, draws: Draws, design: Design, row: int, *, seed: int, progressbar: bool) -> None:
        """Not offered; see `FitState.refit_without`."""


def _left_out(chains: Chains, design: Design) -> np.ndarray:
    """Log densities of all rows, (C, n), at the chains' coordinates and effects."""
    arrangement, last = chains.arrangement, len(chains.deviations) - 1
    conditional, given, x = arrangement.conditionals[last], chains.given(last), chains.point(last)
    evaluated = conditional.at(given, x)
    largest = conditional.factor
    F, group = largest.roots(evaluated.root), design.groups[largest.position]
    found = np.empty((x.shape[1], design.n_rows))
    variance = np.exp(2 * chains.s)
    units = arrangement.density.units
    for rows in chunks(design.n_rows, arrangement.columns.total * x.shape[1], allowed().working):
        at = np.arange(rows.start, rows.stop)
        V = shared_columns(arrangement.columns, units, design, at)[:, :, None].repeat(x.shape[1], axis=2)
        for factor, b in zip(arrangement.factors[:-1], chains.deviations, strict=False):
            other = design.groups[factor.position]
            Z = units.group_columns(factor.position, other, at).T
            V[-1] -= total(z[:, None] * effect[other.codes[at]] for z, effect in zip(Z, b, strict=True))
        z = units.group_columns(largest.position, group, at).T
        left, spread = _eliminated(largest, given.t, F, V, (z, group.codes[at]))
        left[:-1] = scaled(left[:-1], arrangement.columns, evaluated.small)
        residual, own = last_step(conditional.residual.prior, evaluated.reduced.G, chains.s, left)
        weights = None if design.weights is None else design.weights[at]
        spread = (own + spread * variance).T
        found[:, at] = left_out_density(residual.T, spread, variance[:, None], weights, units.scaling.y_scale)
    return found


def _eliminated(
    factor: LargeFactor, t: np.ndarray, F: np.ndarray, V: np.ndarray, rows: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """What is left of rows V (K, n, C) after removing a factor's effects, and these effects' variance over sigma^2.

    `rows` holds the factor's columns and codes for the rows, (q, n) and (n,).
    """
    z, codes = rows
    g, variance = quadratic_form(F[:, :, codes], z[..., None])
    T = factor.T[:-1].reshape(len(V) - 1, factor.q, factor.J)[:, :, codes]
    left = V.copy()
    left[:-1] -= total(T[:, e, :, None] * g[e] for e in range(factor.q))
    left[-1] -= total(t[e][codes] * g[e] for e in range(factor.q))
    return left, variance


def sample_density(
    design: Named,
    density: CollapsedDensity,
    cells: Read,
    *,
    draws: int,
    chains: int,
    seed: int,
    progressbar: bool,
    clock: Clock,
) -> Draws:
    """Sample a model whose statistics are known; see `engine`.

    Raises
    ------
    SamplerError
    """
    rng = np.random.default_rng(seed)
    bar = Progress(progressbar, f"Sampling {density.dimension + 1} parameters")
    with bar as progress, one_blas_thread():
        try:
            state = start(density, max(CHAINS, chains), rng)
            clock.lap("start")
            sampler, steps, found = warm_up(state, cells, rng, progress.advance)
            clock.lap("warm-up")
            rho = rate(state, rng)
            clock.lap("rate")
            key = (seed, "effects", design.groups[state.arrangement.factors[-1].position].name)
            run = Run(design, state, sampler, steps, key, progress.advance)
            result, kept = run(draws, chains, {"rate": rho, "candidates": max(sampler.candidates)})
        except np.linalg.LinAlgError as error:
            raise SamplerError(f"the linear algebra failed: {error}") from error
    clock.lap("sample")
    result.diagnostics["seconds"] = clock.seconds
    theta = kept.theta.reshape(len(kept.theta), -1)
    return replace(result, state=State(density, theta, kept.s.ravel(), found))
