"""The collapsed log density of a Gaussian mixed model: a function of the group covariances and sigma alone.

    y | gamma, b ~ N(V_x gamma + sum_f Z_f b_f, sigma^2 W^-1),  gamma ~ N(m, V0),  b_fj ~ N(0, sigma^2 Sigma_f)

with Sigma_f relative to sigma^2. The factors are integrated out one after the other (`elimination`, then `nested` or
`crossed`), then gamma (`residual`); the cost does not depend on the number of rows. The same quantities are profiled by
lme4 and MixedModels.jl (Bates, Maechler, Bolker & Walker, 2015, Fitting linear mixed-effects models using lme4, Journal
of Statistical Software 67(1), section 3); here they are integrated under priors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from bayesmixed.design.spec import Design
from bayesmixed.families.gaussian import SIGMA_FLOOR
from bayesmixed.gaussian.common import Reduced, Residual
from bayesmixed.gaussian.covariance import Covariances
from bayesmixed.gaussian.crossed import Crossed, CrossedFactors
from bayesmixed.gaussian.elimination import Columns, FirstFactor
from bayesmixed.gaussian.nested import Nested, NestedFactors, chain
from bayesmixed.gaussian.statistics import CrossProducts
from bayesmixed.gaussian.units import Units
from bayesmixed.priors.priors import Priors

_OF_ROWS = ("order", "columns", "first", "others")  # what follows from the statistics alone
_NUMBERS = 2_000_000  # numbers in the matrices G of one pass over points
_WORK = 400_000  # numbers in the working arrays of one chunk of points: what a processor's cache holds


@dataclass(frozen=True)
class CollapsedDensity:
    """The density of one model and one set of rows.

    Attributes
    ----------
    statistics : CrossProducts
    units : Units
    covariances : Covariances
    residual : Residual
    """

    STORED: ClassVar[tuple[str, ...]] = ("statistics", "units", "covariances", "residual")

    statistics: CrossProducts
    units: Units
    covariances: Covariances
    residual: Residual

    @classmethod
    def of(cls, design: Design, priors: Priors, units: Units, statistics: CrossProducts) -> CollapsedDensity:
        """Prepare the density; needs at least one factor."""
        covariances = Covariances.of(design, priors, units)
        rows = units.stated_prior(design, priors)
        residual = Residual(
            statistics.n,
            rows.T @ rows,
            2 * float(np.log(np.diag(rows)).sum()),
            priors.auxiliary["sigma"],
            covariances.sd_priors,
            units.scaling.y_scale,
            float(np.log(SIGMA_FLOOR)),
        )
        return cls(statistics, units, covariances, residual)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Factors in the order in which they are integrated out."""
        return elimination_order(self.statistics)

    @cached_property
    def first(self) -> FirstFactor:
        """The factor that is integrated out first."""
        return FirstFactor.of(self.statistics, self.order[0], self.columns)

    @cached_property
    def others(self) -> Nested | Crossed:
        """The factors beside it."""
        if chain(self.statistics) is None:
            return Crossed.of(self.columns, self.first.targets)
        return Nested.of(self.statistics, self.columns, self.first.targets)

    @cached_property
    def columns(self) -> Columns:
        """The columns of the factors beside the first."""
        return Columns.of(self.statistics, self.order[1:])

    def __getstate__(self) -> dict[str, Any]:
        """What follows from the fields is made again when it is needed."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def dimension(self) -> int:
        """Number of coordinates beside sigma."""
        return self.covariances.dimension

    @property
    def flops(self) -> float:
        """Floating point operations of one evaluation, roughly."""
        P = len(self.residual.prior)
        return self.first.flops + self.others.flops + 20 * P**3

    def with_statistics(self, statistics: CrossProducts) -> CollapsedDensity:
        """The same model, priors and units with other rows; their factors may have got further levels."""
        return replace(self, statistics=statistics, residual=replace(self.residual, n=statistics.n))

    def with_covariances(self, covariances: Covariances) -> CollapsedDensity:
        """The same rows with other coordinates of the covariances."""
        changed = replace(self, covariances=covariances)
        changed.__dict__.update({name: value for name, value in self.__dict__.items() if name in _OF_ROWS})
        return changed

    def reduce(self, theta: np.ndarray) -> Reduced:
        """Integrate all group effects out at N points, (dimension, N)."""
        relative = self.covariances.at(theta)
        N = theta.shape[1]
        P = len(self.residual.prior)
        G, log_det = np.empty((P, P, N)), np.empty(N)
        for points in self.chunks(N):
            roots = [root[..., points] for root in relative.roots]
            values, log_det_first = self.first.reduce(roots[self.order[0]])
            G[..., points], log_det_others = self.others.reduce(values, [roots[f] for f in self.order[1:]])
            log_det[points] = log_det_first + log_det_others
        return Reduced(G, log_det, relative.sds, relative.log_prior)

    def log_joint(self, theta: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Log of p(y, theta, s), (N,), at N points theta (dimension, N) and s (N,)."""
        result = np.empty(len(s))
        for points in self.passes(len(s)):
            result[points] = self.residual.log_density(self.reduce(theta[:, points]), s[points])
        return result

    def factor(self, roots: list[np.ndarray]) -> NestedFactors | CrossedFactors:
        """Integrate all group effects out, and keep what drawing them needs; for roots of one chunk of points."""
        values, _ = self.first.reduce(roots[self.order[0]])
        return self.others.factor(values, [roots[f] for f in self.order[1:]])

    @property
    def at_once(self) -> int:
        """Number of points that are evaluated together."""
        return max(1, _WORK // (self.first.size + self.others.size))

    def passes(self, n: int) -> Iterator[slice]:
        """Points whose matrices G are held together."""
        step = max(1, _NUMBERS // self.residual.prior.size)
        for start in range(0, n, step):
            yield slice(start, min(start + step, n))

    def chunks(self, n: int) -> Iterator[slice]:
        """Points that are evaluated together."""
        for start in range(0, n, self.at_once):
            yield slice(start, min(start + self.at_once, n))


def elimination_order(statistics: CrossProducts) -> tuple[int, ...]:
    """From the leaves to the root where factors are nested; else the one with most effects first."""
    nested = chain(statistics)
    if nested is not None:
        return nested
    size = [q * J for q, J in zip(statistics.n_effects, statistics.n_levels, strict=True)]
    return tuple(sorted(range(len(size)), key=lambda f: -size[f]))
