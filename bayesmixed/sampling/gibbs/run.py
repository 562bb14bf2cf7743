"""The final run, sweeps with frozen proposals; a second one if chains do not agree or say too little; and `Draws`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesmixed.chunks import allowed
from bayesmixed.design.summed.summed import Named
from bayesmixed.errors import SamplerError
from bayesmixed.families.gaussian import Gaussian
from bayesmixed.families.links import Identity
from bayesmixed.gaussian.batched import lower
from bayesmixed.posterior.diagnostics import MIN_DRAWS
from bayesmixed.posterior.draws import Draws, layout
from bayesmixed.sampling.gibbs.chains import Chains, Updated
from bayesmixed.sampling.gibbs.constants import THINNING, WIDE
from bayesmixed.sampling.gibbs.model import covariance_log_prior
from bayesmixed.sampling.gibbs.proposal import Spread
from bayesmixed.sampling.gibbs.replay import Key, ReplayedEffects, sweep_normals
from bayesmixed.sampling.gibbs.sweep import Sampler, Steps, sweep
from bayesmixed.sampling.report import shortcomings, summarise
from bayesmixed.sampling.shared import by_draw, common_values, covariance_values


class Kept:
    """What is kept of the sweeps; effects on the user's scale.

    Parameters
    ----------
    chains : Chains
    draws, kept : int
        Draws per chain, and how many of the running chains are kept.

    Attributes
    ----------
    theta, s, shared : numpy.ndarray of shape (..., kept, draws)
    moved, log_density : numpy.ndarray of shape (kept, draws)
    effects : dict of int to numpy.ndarray of shape (kept, draws, J, q)
        Effects of the large factors that are stored, by position.
    squares : list of numpy.ndarray of shape (q (q + 1) / 2, kept, draws)
        Packed sums over levels of b b' of every large factor, working units.
    sweeps : numpy.ndarray of int, shape (draws,)
    means, shared_mean : list of numpy.ndarray of shape (q, J), numpy.ndarray of shape (K - 1,)
        Sums over sweeps of the conditional means, averaged over chains.
    total : int
        Sweeps that the sums are of.
    dropped : int
        Sweeps before them.
    """

    def __init__(self, chains: Chains, draws: int, kept: int) -> None:
        factors = chains.arrangement.factors
        self.theta = np.empty((len(chains.theta), kept, draws))
        self.s, self.moved, self.log_density = np.empty((3, kept, draws))
        self.shared = np.empty((len(chains.shared), kept, draws))
        last = factors[-1]
        self.lazy = last.J * last.q * kept * draws > allowed().stored
        stored = factors[: len(factors) - self.lazy]
        self.effects = {factor.position: np.empty((kept, draws, factor.J, factor.q)) for factor in stored}
        self.squares = [np.empty((factor.q * (factor.q + 1) // 2, kept, draws)) for factor in factors]
        self.sweeps = np.empty(draws, dtype=np.int64)
        self.means = [np.zeros((factor.q, factor.J)) for factor in factors]
        self.shared_mean = np.zeros(len(chains.shared))
        self.total = self.dropped = 0

    def drop(self) -> None:
        """Begin again: the sweeps so far have served to find better proposals."""
        self.dropped, self.total = self.dropped + self.total, 0
        for sums in (*self.means, self.shared_mean):
            sums[:] = 0.0

    def count(self, updates: list[Updated]) -> None:
        """Add a sweep's conditional means."""
        for so_far, update in zip(self.means, updates, strict=True):
            so_far += update.mean.mean(axis=2)  # noqa: PLW2901 - in place
        self.shared_mean += updates[-1].shared_mean.mean(axis=1)
        self.total += 1

    def store(self, at: int, chains: Chains, sampler: Sampler) -> None:
        """Keep the chains' state as a draw."""
        C, units = self.s.shape[0], chains.arrangement.density.units
        self.theta[:, :, at], self.s[:, at], self.shared[:, :, at] = (
            chains.theta[:, :C],
            chains.s[:C],
            chains.shared[:, :C],
        )
        self.moved[:, at], self.log_density[:, at] = sampler.moved[:C], sampler.log_density[:C]
        self.sweeps[at] = self.dropped + self.total
        for i, factor in enumerate(chains.arrangement.factors):
            b = chains.effects(i)[:, :, :C]
            for k, (e, m) in enumerate(lower(factor.q)):
                self.squares[i][k, :, at] = (b[e] * b[m]).sum(axis=0)
            if factor.position in self.effects:
                self.effects[factor.position][:, at] = units.group_effects(factor.position, b).transpose(2, 1, 0)


@dataclass(frozen=True)
class Run:
    """All that a run needs.

    Attributes
    ----------
    design : Design, Summed or DesignSpec
        For the names.
    chains : Chains
    sampler : Sampler
    steps : Steps
    key : tuple of int and str
        Of the noise of the largest factor's effects, if they are not stored.
    advance : callable
        Told the number of chains after every sweep.
    """

    design: Named
    chains: Chains
    sampler: Sampler
    steps: Steps
    key: Key
    advance: Callable[[int], None]

    def __call__(self, draws: int, kept_chains: int, diagnostics: dict[str, Any]) -> tuple[Draws, Kept]:
        """Run, and once more with better proposals and more sweeps per draw if the gates require it.

        Raises
        ------
        SamplerError
            If the draws cannot be trusted; says why.
        """
        kept, iterations = Kept(self.chains, draws, kept_chains), 0
        judged = draws >= MIN_DRAWS  # fewer cannot be judged, and the fit's warning says so
        for thin in THINNING:
            if kept.total:
                self._refit(kept)
                kept.drop()
            for at in range(draws):
                for _ in range(thin):
                    iterations += self._sweep(kept)
                kept.store(at, self.chains, self.sampler)
            result, sweeps = self._assemble(kept), kept.dropped + kept.total
            result.diagnostics.update(diagnostics, moved=float(kept.moved.mean()), sweeps=sweeps, thinning=thin)
            if self.steps.redraw is not None:
                result.diagnostics["iterations"] = iterations / sweeps
            result.diagnostics.update(summary := summarise(result))
            trouble = "; ".join(shortcomings(summary, result))
            if not (judged and trouble):
                return result, kept
        raise SamplerError(f"after {thin} times as many sweeps {trouble}")

    def _refit(self, kept: Kept) -> None:
        """Fit the proposals to all draws so far, and freeze them again.

        The warm-up may have missed the tail of an sd towards zero, where chains then get stuck; draws that are stuck
        are worth few others, so that none of this run is kept.
        """
        arrangement, theta = self.chains.arrangement, kept.theta.reshape(len(kept.theta), -1)
        points = self.steps.points(arrangement, theta, kept.s.ravel())
        self.sampler.proposals = [Spread.fitted(one, WIDE) for one in points]

    def _sweep(self, kept: Kept) -> int:
        """A sweep of the final run; returns the iterations of the conjugate gradients."""
        chains, sampler, last = self.chains, self.sampler, None
        sampler.moved = np.zeros(len(chains.s))
        if kept.lazy:
            q, J, C = chains.deviations[-1].shape
            last = sweep_normals(self.key, kept.dropped + kept.total + 1, J, q, C)
        updates, iterations = sweep(chains, sampler, self.steps, sampler.rng, last)
        self.advance(len(chains.s))
        kept.count(updates)
        return iterations

    def _assemble(self, kept: Kept) -> Draws:
        """Assemble `Draws` from what is kept, on the user's scale."""
        density, design = self.chains.arrangement.density, self.design
        units, columns, factors = density.units, self.chains.arrangement.columns, self.chains.arrangement.factors
        shape, m, names = kept.s.shape, columns.m, [factor.name for factor in design.groups]
        shared = kept.shared.reshape(len(kept.shared), kept.s.size)
        shared_mean = kept.shared_mean / kept.total
        values, means = common_values(design, units, shared[m:], shared_mean[m:, None], shape)
        theta = kept.theta.reshape(len(kept.theta), -1)
        values["sigma"] = units.scaling.y_scale * np.exp(kept.s)
        roots = density.covariances.at(theta).roots
        values |= covariance_values(design, units, roots, np.arange(theta.shape[1]), shape)
        split = columns.split(shared[:m]), columns.split(shared_mean[:m])
        for f, b, mean in zip(columns.factors, *split, strict=True):
            values[f"b_{names[f]}"] = by_draw(units.group_effects(f, b).swapaxes(0, 1), shape)
            means[f"b_{names[f]}"] = units.group_effects(f, mean).T
        for factor, total in zip(factors, kept.means, strict=True):
            means[f"b_{names[factor.position]}"] = units.group_effects(factor.position, total / kept.total).T
        values |= {f"b_{names[f]}": effects for f, effects in kept.effects.items()}
        lazy = {}
        if kept.lazy:
            name, others = names[factors[-1].position], dict(kept.effects)
            s = kept.s.ravel()
            mean = means.pop(f"b_{name}")
            running = len(self.chains.s)
            lazy[name] = ReplayedEffects(density, theta, s, shared, others, self.key, kept.sweeps, running, mean)
        stats = {
            "lp": kept.log_density + self._others_log_prior(kept, roots),
            "acceptance_rate": kept.moved,
            "diverging": np.zeros(shape, dtype=bool),
        }
        ordered = {key: values[key] for key in layout(design, Gaussian(Identity())) if key in values}
        return Draws(ordered, stats, {"sampler": "gibbs"}, means, lazy=lazy)

    def _others_log_prior(self, kept: Kept, roots: list[np.ndarray]) -> np.ndarray:
        """Log of p(b_g, theta_g) for all large factors except the last, whose conditional takes them as given."""
        density, total = self.chains.arrangement.density, np.zeros(kept.s.shape)
        theta = kept.theta.reshape(len(kept.theta), -1)
        for factor, squares in list(zip(self.chains.arrangement.factors, kept.squares, strict=True))[:-1]:
            g = factor.position
            log_density = covariance_log_prior(density.covariances, g, theta)
            inverse = np.linalg.inv(np.moveaxis(roots[g], -1, 0))
            precision = inverse.swapaxes(1, 2) @ inverse
            flat = squares.reshape(len(squares), -1)
            quadratic = sum((1 + (i != j)) * precision[:, i, j] * flat[at] for at, (i, j) in enumerate(lower(factor.q)))
            log_density += factor.J * np.log(np.abs(np.diagonal(inverse, axis1=1, axis2=2))).sum(axis=1)
            total += (log_density - 0.5 * quadratic - 0.5 * factor.J * factor.q * np.log(2 * np.pi)).reshape(
                total.shape
            )
        return total
