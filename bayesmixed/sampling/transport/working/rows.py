"""The rows of a fit in the sampler's units: linear predictors, and the family's functions of them.

    eta = offset + M w,    w = (group effects, common effects),

where the common effects are in units of their prior, u ~ N(0, I), and group effects in those of the linear predictor.
Identical rows are kept once, with their number as a weight; if the family allows it, rows that differ only in the
response are kept as one with their mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from bayesmixed.chunks import allowed, chunks
from bayesmixed.design.identical import distinct_rows
from bayesmixed.design.spec import Design
from bayesmixed.families.base import Family
from bayesmixed.gaussian.units import Units
from bayesmixed.sampling.transport.working.layout import Layout


@dataclass(frozen=True)
class Reference:
    """A quadratic approximation of the rows' log densities, kappa (a lin - W lin^2 / 2), where lin = M w.

    It may follow some auxiliary parameters theta_k: a(theta) = a + sum_k slopes_k (theta_k - at_k).

    Attributes
    ----------
    W, a : numpy.ndarray of shape (n,)
        W is never negative; it may be zero.
    slopes : dict of str to numpy.ndarray of shape (n,)
        By auxiliary parameter, for those that are followed.
    at : dict of str to float
        Their values at the reference.
    """

    STORED: ClassVar[tuple[str, ...]] = ("W", "a", "slopes", "at")

    W: np.ndarray
    a: np.ndarray
    slopes: dict[str, np.ndarray] = field(default_factory=dict)
    at: dict[str, float] = field(default_factory=dict)

    @classmethod
    def about(
        cls,
        lin: np.ndarray,
        weight: np.ndarray,
        score: np.ndarray,
        slopes: dict[str, np.ndarray],
        at: dict[str, float],
    ) -> Reference:
        """With the slope `score` and the curvature `weight` at the linear predictors `lin` minus the offset; (n,)."""
        return cls(weight, weight * lin + score, slopes, at)

    def linear_term(self, auxiliary: dict[str, np.ndarray], rows: slice = slice(None)) -> np.ndarray:
        """a(theta) of some rows at auxiliary parameters (C,): (n, 1), or (n, C) if one is followed."""
        found: np.ndarray = self.a[rows, None]
        for name, slope in self.slopes.items():
            found = found + slope[rows, None] * (auxiliary[name] - self.at[name])
        return found

    def take(self, rows: np.ndarray) -> Reference:
        """The reference of some rows."""
        return Reference(self.W[rows], self.a[rows], self._slopes(lambda slope: slope[rows]), self.at)

    def put_together(self, place: np.ndarray) -> Reference:
        """Summed over sets of rows; see `identical_rows`."""
        slopes = self._slopes(lambda slope: np.bincount(place, slope))
        return Reference(np.bincount(place, self.W), np.bincount(place, self.a), slopes, self.at)

    def followed(self, further: Reference) -> Reference:
        """The reference of these rows, followed by that of `further` rows."""
        n, away = len(self.W), {name: np.array([value]) for name, value in self.at.items()}
        rest = further.take(np.arange(n, len(further.W)))
        return Reference(
            np.concatenate([self.W, rest.W]),
            np.concatenate([self.a, rest.linear_term(away)[:, 0]]),
            {name: np.concatenate([slope, rest.slopes[name]]) for name, slope in self.slopes.items()},
            self.at,
        )

    def _slopes(self, change: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
        return {name: change(slope) for name, slope in self.slopes.items()}


@dataclass(frozen=True)
class Evaluated:
    """The rows at C points.

    Attributes
    ----------
    residual : numpy.ndarray of shape (C,)
        Log density minus the reference's quadratic, summed over the rows.
    by_effect : numpy.ndarray of shape (size, C)
        Its derivative with respect to w.
    by_auxiliary : dict of str to numpy.ndarray of shape (C,)
        Derivative of the residual with respect to each auxiliary parameter, for fixed effects and concentration.
    quadratic : numpy.ndarray of shape (C,)
        The reference's quadratic, summed.
    """

    residual: np.ndarray
    by_effect: np.ndarray
    by_auxiliary: dict[str, np.ndarray]
    quadratic: np.ndarray


@dataclass(frozen=True)
class Rows:
    """Rows, each of which may count more than once.

    Attributes
    ----------
    family : Family
    layout : Layout
    y, offset : numpy.ndarray of shape (n, 1)
        The response may be a mean over identical rows, and so may the trials.
    trials, weights : numpy.ndarray of shape (n, 1), or None
        The weight is how often a row counts; None: once.
    X : numpy.ndarray of shape (n, p)
    Z : tuple of numpy.ndarray of shape (n, q)
        Per factor, in the order of the layout.
    codes : tuple of numpy.ndarray of int, shape (n,)
    """

    STORED: ClassVar[tuple[str, ...]] = ("family", "layout", "y", "offset", "trials", "weights", "X", "Z", "codes")

    family: Family
    layout: Layout
    y: np.ndarray
    offset: np.ndarray
    trials: np.ndarray | None
    weights: np.ndarray | None
    X: np.ndarray
    Z: tuple[np.ndarray, ...]
    codes: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, design: Design, family: Family, units: Units, mean: np.ndarray, root: np.ndarray) -> Rows:
        """Convert a design's rows to the sampler's units.

        Parameters
        ----------
        design : Design
        family : Family
        units : Units
        mean, root : numpy.ndarray of shape (p,) and (p, p)
            Of the common effects' prior.
        """
        every = slice(None)
        scale, location = units.scaling.y_scale, units.scaling.y_location
        V = scale * units.explaining_columns(design, every)
        layout = Layout.of_design(design)
        offset = location + V @ mean
        if design.offset is not None:
            offset = offset + design.offset
        count = design.weights
        return cls(
            family,
            layout,
            design.observed[:, None],
            offset[:, None],
            None if design.trials is None else design.trials[:, None],
            None if count is None or np.all(count == 1) else count[:, None],
            V @ root,
            tuple(scale * units.group_columns(f, design.groups[f], every) for f in layout.factors),
            tuple(design.groups[f].codes for f in layout.factors),
        )

    def take(self, rows: np.ndarray) -> Rows:
        """Some rows, with the same levels."""

        def some(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        return replace(
            self,
            y=self.y[rows],
            offset=self.offset[rows],
            trials=some(self.trials),
            weights=some(self.weights),
            X=self.X[rows],
            Z=tuple(z[rows] for z in self.Z),
            codes=tuple(code[rows] for code in self.codes),
        )

    def put_together(self, at: np.ndarray, place: np.ndarray) -> Rows:
        """Sets of identical rows as one row each; see `identical_rows`."""
        counts, first = self.counts, self.take(at)
        count = np.bincount(place, counts)

        def mean(values: np.ndarray) -> np.ndarray:
            return (np.bincount(place, counts * values[:, 0]) / count)[:, None]

        first = replace(first, weights=None if np.all(count == 1) else count[:, None])
        if not self.family.summable:
            return first
        return replace(first, y=mean(self.y), trials=None if self.trials is None else mean(self.trials))

    def __getstate__(self) -> dict[str, Any]:
        """Cached values are left out: they are recomputed from the fields when needed."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def n(self) -> int:
        """Number of rows, counting identical ones once."""
        return len(self.y)

    @property
    def counts(self) -> np.ndarray:
        """How often each row counts, (n,)."""
        return np.ones(self.n) if self.weights is None else self.weights[:, 0]

    def __add__(self, other: Rows) -> Rows:
        """Both sets of rows of one model; the other's factors may have new levels after the known ones."""
        factors = range(len(self.Z))
        pairs = [(self.layout.factors.index(f), other.layout.factors.index(f)) for f in factors]
        Z = [np.concatenate([self.Z[i], other.Z[j]]) for i, j in pairs]
        codes = [np.concatenate([self.codes[i], other.codes[j]]) for i, j in pairs]
        levels = [max(self.layout.n_levels[i], other.layout.n_levels[j]) for i, j in pairs]
        layout = Layout.of([z.shape[1] for z in Z], levels, codes, self.layout.p)
        counts = np.concatenate([self.counts, other.counts])[:, None]
        return Rows(
            self.family,
            layout,
            np.concatenate([self.y, other.y]),
            np.concatenate([self.offset, other.offset]),
            None if self.trials is None or other.trials is None else np.concatenate([self.trials, other.trials]),
            None if np.all(counts == 1) else counts,
            np.concatenate([self.X, other.X]),
            tuple(Z[f] for f in layout.factors),
            tuple(codes[f] for f in layout.factors),
        )

    def indicator(self, i: int) -> sparse.csr_array:
        """Columns of M of the factor at position i of the layout, (n, q J)."""
        q, J = self.layout.n_effects[i], self.layout.n_levels[i]
        places = self.codes[i][:, None] + J * np.arange(q)
        return sparse.csr_array((self.Z[i].ravel(), places.ravel(), np.arange(self.n + 1) * q), (self.n, q * J))

    def shared_columns(self) -> np.ndarray | sparse.csr_array:
        """Columns of M of the crossed factors, then of the common effects, (n, m)."""
        crossed = range(self.layout.nested, len(self.Z))
        if not crossed:
            return self.X
        return sparse.hstack([*(self.indicator(i) for i in crossed), sparse.csr_array(self.X)]).tocsr()

    @cached_property
    def _matrix(self) -> sparse.csr_array:
        """M without the common columns, (n, number of group effects)."""
        return sparse.hstack([self.indicator(i) for i in range(len(self.Z))]).tocsr()

    @cached_property
    def _transposed(self) -> sparse.csr_array:
        return self._matrix.T.tocsr()

    def linear(self, w: np.ndarray) -> np.ndarray:
        """M w, (n, C), for effects (size, C)."""
        found = self.X @ self.layout.common(w)
        if len(self.Z):
            found += self._matrix @ w[: self.layout.offsets[-1]]
        return found

    def by_effect(self, g: np.ndarray) -> np.ndarray:
        """M'g, (size, C), for numbers per row (n, C)."""
        common = self.X.T @ g
        return np.concatenate([self._transposed @ g, common]) if len(self.Z) else common

    def evaluate(self, w: np.ndarray, auxiliary: dict[str, np.ndarray], reference: Reference) -> Evaluated:
        """What the target needs from the rows at C points, with effects (size, C) and auxiliary parameters (C,)."""
        lin, C = self.linear(w), w.shape[1]
        kappa = self.family.concentration(**auxiliary)
        residual, quadratic, slope = np.empty_like(lin), np.empty_like(lin), np.empty_like(lin)
        by_auxiliary = {name: np.empty_like(lin) for name in self.family.auxiliary}
        for rows in chunks(self.n, C, allowed().rows):
            some = lin[rows]
            log_density, score, by = self._derivatives(rows, self.offset[rows] + some, auxiliary)
            a = reference.linear_term(auxiliary, rows)
            pull = reference.W[rows, None] * some
            np.subtract(a, pull, out=pull)  # a - W lin
            own = 0.5 * some * (a + pull)  # a lin - W lin^2 / 2
            quadratic[rows] = own
            residual[rows] = log_density - kappa * own
            slope[rows] = score - kappa * pull
            for name, values in by.items():
                by_auxiliary[name][rows] = values
            for name, along in reference.slopes.items():
                by_auxiliary[name][rows] -= kappa * along[rows, None] * some
        return Evaluated(
            residual.sum(axis=0),
            self.by_effect(slope),
            {name: values.sum(axis=0) for name, values in by_auxiliary.items()},
            quadratic.sum(axis=0),
        )

    def log_density(self, lin: np.ndarray, auxiliary: dict[str, np.ndarray]) -> np.ndarray:
        """Log densities summed over the rows, (S,), at predictors (n, 1) or (n, S) and auxiliary parameters (S,)."""
        S = max([lin.shape[1], *(len(values) for values in auxiliary.values())])
        found = np.empty((self.n, S))  # one sum, however many are evaluated together
        for rows in chunks(self.n, S, allowed().rows):
            eta = np.broadcast_to(self.offset[rows] + lin[rows], found[rows].shape)
            found[rows] = self._derivatives(rows, eta, auxiliary)[0]
        return found.sum(axis=0)

    def each(self, lin: np.ndarray, auxiliary: dict[str, np.ndarray]) -> np.ndarray:
        """Log density of each row, with its constants, times how often it counts: (n, S), at predictors (n, S)."""
        trials = {} if self.trials is None else {"trials": self.trials}
        found = self.family.log_density(self.y, self.offset + lin, **auxiliary, **trials)
        return found if self.weights is None else found * self.weights

    def working(
        self, lin: np.ndarray, auxiliary: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Weight, score and `Family.score_by_auxiliary`, over the concentration: (n, C), at predictors (n, C)."""
        weight, score = np.empty_like(lin), np.empty_like(lin)
        slopes: dict[str, np.ndarray] = {}
        kappa = self.family.concentration(**auxiliary)
        for rows in chunks(self.n, lin.shape[1], allowed().rows):
            eta = self.offset[rows] + lin[rows]
            score[rows] = self._derivatives(rows, eta, auxiliary)[1] / kappa
            own = self.family.weight(self.y[rows], eta, **auxiliary, **self._trials(rows)) / kappa
            weight[rows] = own if self.weights is None else own * self.weights[rows]
            for name, along in self.family.score_by_auxiliary(self.y[rows], eta, **auxiliary).items():
                counted = along if self.weights is None else along * self.weights[rows]
                slopes.setdefault(name, np.empty_like(lin))[rows] = counted / kappa
        return weight, score, slopes

    def _derivatives(
        self, rows: slice, eta: np.ndarray, auxiliary: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """`Family.derivatives` of some rows, times how often each counts."""
        found = self.family.derivatives(self.y[rows], eta, **auxiliary, **self._trials(rows))
        if self.weights is None:
            return found
        (log_density, score, by), w = found, self.weights[rows]
        return w * log_density, w * score, {name: w * values for name, values in by.items()}

    def _trials(self, rows: slice) -> dict[str, np.ndarray]:
        return {} if self.trials is None else {"trials": self.trials[rows]}


def identical_rows(design: Design, family: Family) -> tuple[np.ndarray, np.ndarray]:
    """Sets of rows that can be merged: the first of each, in order, (m,), and the set of every row, (n,).

    They have the same columns, groups and offset, and the same response, unless the family is `summable`.
    """
    offset = np.zeros(design.n_rows) if design.offset is None else design.offset
    columns = [offset, design.X, *(factor.Z for factor in design.groups)]
    if not family.summable:
        columns += [design.observed] if design.trials is None else [design.observed, design.trials]
    return distinct_rows(np.column_stack(columns), [factor.codes for factor in design.groups])
