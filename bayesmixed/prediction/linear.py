"""The linear predictor of rows at the posterior's draws, ``Intercept + x'beta + offset + z'b``, and related quantities.

A family whose posterior has thresholds in place of the intercept uses the negative of one of them as the intercept.

The mode of a factor determines the effect of a level that was not seen in fit (`new_groups`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bayesmixed.chunks import allowed, chunks
from bayesmixed.design.identical import distinct_rows
from bayesmixed.design.spec import Design
from bayesmixed.posterior.posterior import Posterior
from bayesmixed.prediction.new_groups import How, NewLevels, is_new


@dataclass(frozen=True)
class Predictors:
    """The linear predictors of the rows of one call.

    Attributes
    ----------
    posterior : Posterior
    design : Design
    modes : dict of str to str
        For new levels, by factor.
    """

    posterior: Posterior
    design: Design
    modes: Mapping[str, str]

    @cached_property
    def every(self) -> np.ndarray:
        """Positions of all draws, numbered across the chains, (S,)."""
        return np.arange(self.posterior.draws.size)

    @cached_property
    def new_levels(self) -> dict[str, NewLevels]:
        """By factor."""
        draws, seed = self.posterior.draws, self.posterior.seed
        return {f.name: NewLevels(draws, seed, f, self.modes[f.name]) for f in self.design.groups}

    def distinct(self) -> tuple[Predictors, np.ndarray]:
        """The same for one row of each set that is predicted alike, and the set of every row, (n,)."""
        design, codes = self.design, []
        columns = [np.zeros(design.n_rows) if design.offset is None else design.offset, design.X]
        columns += [] if design.trials is None else [design.trials]
        for factor in design.groups:
            columns.append(factor.Z)
            new, drawn = is_new(factor), self.modes[factor.name] == "donor"
            if drawn and (factor.codes < 0).any():  # a missing label's donor depends on the row
                return self, np.arange(design.n_rows)
            codes.append(factor.codes if drawn else np.where(new, -1, factor.codes))
        at, place = distinct_rows(np.column_stack(columns), codes)
        return replace(self, design=design.take(at)), place

    def chunks(self, n_draws: int) -> Iterator[np.ndarray]:
        """Positions of rows that are predicted together, at `n_draws` draws."""
        for rows in chunks(self.design.n_rows, n_draws, allowed().predictions):
            yield np.arange(rows.start, rows.stop)

    def at(self, rows: np.ndarray, keep: np.ndarray, how: How) -> np.ndarray:
        """Linear predictor of some rows at some draws, (rows, s), as the family's methods expect it.

        `NewLevels.effects` explains `how`.
        """
        return self._with(self.posterior.parameters.get("Intercept"), rows, keep, how)

    def linear(self, rows: np.ndarray, keep: np.ndarray, how: How) -> np.ndarray:
        """The same as it is reported: without an intercept if the posterior has none."""
        draws = self.posterior.draws
        return self._with(draws.flat("Intercept") if "Intercept" in draws.values else None, rows, keep, how)

    def _with(self, intercept: np.ndarray | None, rows: np.ndarray, keep: np.ndarray, how: How) -> np.ndarray:
        """The sum with an intercept (S,); a row's draws are contiguous, as all later steps run over them."""
        draws, design = self.posterior.draws, self.design
        eta = np.zeros((len(rows), len(keep)))
        if intercept is not None:
            eta += intercept[keep]
        if design.offset is not None:
            eta += design.offset[rows][:, None]
        if design.common_names:
            eta += design.X[rows] @ draws.flat("beta")[keep].T
        for factor in design.groups:
            codes, Z = factor.codes[rows], factor.Z[rows]
            known = np.flatnonzero(~is_new(factor, rows))
            levels, place = np.unique(codes[known], return_inverse=True)
            for k, b in enumerate(np.ascontiguousarray(draws.effects(factor.name, levels)[keep].T)):
                eta[known] += b[place] * Z[known, k, None]
            for row_set, effects in self.new_levels[factor.name].effects(rows, how):
                eta[row_set] += Z[row_set] @ effects[keep].T
        return eta

    def new_variance(self, rows: np.ndarray) -> np.ndarray:
        """Variance added by the normal effects of new levels at every draw, (rows, S)."""
        total = np.zeros((len(rows), len(self.every)))
        for new in self.new_levels.values():
            at, variance = new.variance(rows)
            total[at] += variance
        return total

    def auxiliary(self, rows: np.ndarray, keep: np.ndarray) -> dict[str, np.ndarray]:
        """The family's auxiliary parameters at some draws, each (s,), and the rows' numbers of trials, (rows, 1)."""
        posterior, trials = self.posterior, self.design.trials
        found = {name: posterior.parameters[name][keep] for name in posterior.family.auxiliary}
        return found if trials is None else {**found, "trials": trials[rows, None]}
