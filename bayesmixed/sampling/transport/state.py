"""What a fit keeps in order to learn from new rows: its rows in working units, and its draws of the parameters.

The draws are weighted by the new rows' density if all their groups are known and the weights are even enough;
otherwise the sampler runs again on all rows. Its chains continue from where those of the fit ended, unless the new rows
have moved the posterior too far.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from bayesmixed.chunks import allowed, chunks
from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.errors import SamplerError
from bayesmixed.families.base import Family
from bayesmixed.keyed_random import uniforms
from bayesmixed.posterior.diagnostics import pareto_k
from bayesmixed.posterior.draws import CoefficientMoments, Draws, sampled
from bayesmixed.sampling.clock import Clock
from bayesmixed.sampling.engine import Settings
from bayesmixed.sampling.progress import Progress
from bayesmixed.sampling.report import shortcomings, summarise
from bayesmixed.sampling.resampling import K_HAT_LIMIT, resample
from bayesmixed.sampling.transport.adaptation import Warm, adapt
from bayesmixed.sampling.transport.assembly import states_by_draw
from bayesmixed.sampling.transport.constants import CHAINS, REFERENCE_DRAWS
from bayesmixed.sampling.transport.leave_one_out import bridge, leave_one_out
from bayesmixed.sampling.transport.model import Prepared
from bayesmixed.sampling.transport.run import run
from bayesmixed.sampling.transport.start import find_start
from bayesmixed.sampling.transport.working.rows import Reference, Rows, identical_rows


@dataclass(frozen=True)
class State:
    """What a fit keeps.

    Attributes
    ----------
    prepared : Prepared
        With all rows so far.
    x : numpy.ndarray of shape (d, S)
        Parameters of every draw, numbered across the chains, in the sampler's coordinates.
    warm : Warm
        Of the last run of the sampler.
    """

    STORED: ClassVar[tuple[str, ...]] = ("prepared", "x", "warm")

    prepared: Prepared
    x: np.ndarray
    warm: Warm

    @property
    def coefficients(self) -> CoefficientMoments | None:
        """Not known; see `FitState.coefficients`."""
        return None

    def update(self, draws: Draws, spec: DesignSpec, design: Design, *, seed: int, progressbar: bool) -> Draws:
        """Learn from new rows; see `FitState.update`. ``diagnostics["reason"]`` says how."""
        clock = Clock()
        new = self.prepared.rows_of(design)
        prepared = replace(self.prepared, rows=self.prepared.rows + new)
        result, refusal = self._weighted(draws, prepared, new, design, seed)
        clock.lap("weights")
        if refusal:
            settings = _as_many(draws, seed, progressbar)
            warm = self.warm.extended(prepared.rows)
            result, lost = sample_near(prepared, spec, settings, clock, warm)
            result.diagnostics["reason"] = f"condition: sampled anew, as {refusal}{lost}"
        return result

    def _weighted(self, draws: Draws, prepared: Prepared, new: Rows, design: Design, seed: int) -> tuple[Draws, str]:
        """The draws resampled for all rows, and why they are not good enough; empty if they are."""
        if any(len(factor.levels) > draws.values[f"b_{factor.name}"].shape[2] for factor in design.groups):
            return draws, "the rows have new groups"
        log_weights = np.empty(draws.size)
        for some in chunks(draws.size, design.n_rows, allowed().working):
            keep = np.arange(some.start, some.stop)
            lin = linear_predictors(draws, new.family, design, keep) - new.offset
            log_weights[some] = new.each(lin, self._auxiliary(keep)).sum(axis=0)
        k_hat = pareto_k(log_weights)
        if not k_hat <= K_HAT_LIMIT:
            return draws, f"Pareto k-hat of the weights is {k_hat:.2f} (limit {K_HAT_LIMIT})"
        u = uniforms((seed, "resample", str(prepared.rows.n)), (draws.shape[0],))
        result = self._chosen(draws, prepared, resample(log_weights.reshape(draws.shape), u))
        result.diagnostics.update({"reason": "condition: the draws were weighted by the new rows", "k_hat": k_hat})
        result.diagnostics.update(summary := summarise(result))
        return result, "; ".join(shortcomings(summary, result))

    def _chosen(self, draws: Draws, prepared: Prepared, chosen: np.ndarray) -> Draws:
        """The draws at positions (chain, draw) within their chains."""
        at = np.arange(len(chosen))[:, None], chosen
        x = self.x.reshape(len(self.x), *draws.shape)[:, at[0], at[1]].reshape(len(self.x), chosen.size)
        return Draws(
            {name: values[at] for name, values in draws.values.items()},
            {name: values[at] for name, values in draws.sample_stats.items()},
            {"sampler": "transport", "acceptance": draws.diagnostics["acceptance"]},
            state=State(prepared, x, self.warm),
        )

    def leave_one_out(self, draws: Draws, design: Design, keep: np.ndarray) -> np.ndarray:
        """Log density of each row given all others; see `FitState.leave_one_out`."""
        rows = self.prepared.rows_of(design)
        return leave_one_out(rows, self.prepared.parameters, self._reference(draws, design, rows), self.x[:, keep])

    def refit_without(
        self, draws: Draws, design: Design, row: int, *, seed: int, progressbar: bool
    ) -> tuple[float, float]:
        """Log density of one row given all others, from a fit to the others; see `FitState.refit_without`."""
        rows, others = self.prepared.rows_of(design), np.delete(np.arange(design.n_rows), row)
        at, place = identical_rows(design.take(others), rows.family)
        prepared = replace(self.prepared, rows=rows.take(others).put_together(at, place))
        reference = self._reference(draws, design, rows).take(others).put_together(place)
        warm = replace(self.warm.extended(self.prepared.rows), reference=reference)
        refitted, _ = sample_near(prepared, design, _as_many(draws, seed, progressbar), Clock(), warm)
        one, every, log_density = np.array([row]), np.arange(draws.size), []
        for some in (draws, refitted):
            lin = linear_predictors(some, rows.family, design.take(one), every) - rows.offset[one]
            values = sampled(some, rows.family, design.has_intercept)
            auxiliary = {name: values[name] for name in rows.family.auxiliary}
            log_density.append(rows.take(one).each(lin, auxiliary)[0])
        return bridge(*log_density)

    def _reference(self, draws: Draws, design: Design, rows: Rows) -> Reference:
        """The quadratic approximation of some rows, averaged over the posterior as in `Pilot`."""
        keep = np.unique(np.linspace(0, draws.size - 1, REFERENCE_DRAWS).astype(int))
        lin = linear_predictors(draws, rows.family, design, keep) - rows.offset
        auxiliary = self._auxiliary(keep)
        weight, score, slopes = rows.working(lin, auxiliary)
        followed = {name: values.mean(axis=1) for name, values in slopes.items()}
        at = {name: float(auxiliary[name].mean()) for name in followed}
        return Reference.about(lin.mean(axis=1), weight.mean(axis=1), score.mean(axis=1), followed, at)

    def _auxiliary(self, keep: np.ndarray) -> dict[str, np.ndarray]:
        """Auxiliary parameters of some draws, each (s,)."""
        return self.prepared.parameters.at(self.x[:, keep]).auxiliary


def sample_prepared(
    prepared: Prepared,
    design: Design | DesignSpec,
    settings: Settings,
    clock: Clock,
    warm: Warm | None = None,
) -> Draws:
    """Sample a model in working units; see `engine`.

    Parameters
    ----------
    prepared : Prepared
    design : Design or DesignSpec
        For the names.
    settings : Settings
    clock : Clock
    warm : Warm, optional
        From a fit of nearly the same rows, whose chains are continued.

    Raises
    ------
    SamplerError
    """
    rows, chains = prepared.rows, settings.chains
    rng = np.random.default_rng((settings.seed, rows.n) if warm else settings.seed)  # not the same noise as in the fit
    with Progress(settings.progressbar, f"Sampling {rows.layout.size} effects") as progress:
        try:
            if warm is None:
                target = find_start(rows, prepared.parameters)
                clock.lap("start")
                adapted = adapt(target, max(CHAINS, chains), rng, progress.advance)
            else:
                adapted = warm.adapt(rows, rng, progress.advance)
            clock.lap("adapt")
            result, kept = run(
                prepared, design, adapted, draws=settings.draws, chains=chains, rng=rng, advance=progress.advance
            )
        except np.linalg.LinAlgError as error:
            raise SamplerError(f"the linear algebra failed: {error}") from error
    clock.lap("sample")
    result.diagnostics["seconds"] = clock.seconds
    x = states_by_draw(kept.x, chains).reshape(-1, chains * settings.draws)
    return replace(result, state=State(prepared, x, Warm.of(adapted, kept.w[-1], kept.x[-1])))


def sample_near(
    prepared: Prepared, design: Design | DesignSpec, settings: Settings, clock: Clock, warm: Warm
) -> tuple[Draws, str]:
    """Continue the chains of a fit, or sample from a new start; also returns which, as the end of a sentence."""
    try:
        return sample_prepared(prepared, design, settings, clock, warm), ""
    except SamplerError as error:
        return sample_prepared(prepared, design, settings, clock), f"; from a new start, as {error}"


def _as_many(draws: Draws, seed: int, progressbar: bool) -> Settings:
    chains, n_draws = draws.shape
    return Settings("transport", n_draws, chains, seed, progressbar)


def linear_predictors(draws: Draws, family: Family, design: Design, keep: np.ndarray) -> np.ndarray:
    """Linear predictors of rows of known groups at some draws, (n, s)."""
    eta = np.zeros((design.n_rows, len(keep)))
    if design.offset is not None:
        eta += design.offset[:, None]
    if design.has_intercept:
        eta += sampled(draws, family, design.has_intercept)["Intercept"][keep]
    if design.common_names:
        eta += design.X @ draws.flat("beta")[keep].T
    for factor in design.groups:
        b = draws.flat(f"b_{factor.name}")[keep]  # (s, J, q)
        for effect, z in enumerate(factor.Z.T):
            eta += z[:, None] * b[:, factor.codes, effect].T
    return eta
