"""The collapsed log density of a Gaussian mixed model: a function of only the group covariances and sigma.

    y | gamma, b ~ N(V_x gamma + sum_f Z_f b_f, sigma^2 W^-1),  gamma ~ N(m, V0),  b_fj ~ N(0, sigma^2 Sigma_f)

with Sigma_f relative to sigma^2. The factors are integrated out by an `Elimination`, then gamma (`Residual`); the cost
does not depend on the number of rows. The same quantities are profiled by lme4 and MixedModels.jl (Bates, Maechler,
Bolker & Walker, 2015, Fitting linear mixed-effects models using lme4, Journal of Statistical Software 67(1), section
3); here they are integrated under priors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from bayesmixed.chunks import allowed, chunks
from bayesmixed.design.statistics import CrossProducts
from bayesmixed.design.summed.summed import Measured
from bayesmixed.families.gaussian import SIGMA_FLOOR
from bayesmixed.gaussian.common import Reduced, Residual, products_of
from bayesmixed.gaussian.covariance import Covariances
from bayesmixed.gaussian.elimination import Elimination, choose
from bayesmixed.gaussian.units import Units
from bayesmixed.priors.priors import Priors


@dataclass(frozen=True)
class CollapsedDensity:
    """The density of one model and one set of rows.

    Attributes
    ----------
    statistics : CrossProducts
    units : Units
    covariances : Covariances
    residual : Residual
    known : Elimination, optional
        The elimination of the statistics, if another density of the same rows has it.
    """

    STORED: ClassVar[tuple[str, ...]] = ("statistics", "units", "covariances", "residual")

    statistics: CrossProducts
    units: Units
    covariances: Covariances
    residual: Residual
    known: Elimination | None = None

    @classmethod
    def of(cls, design: Measured, priors: Priors, units: Units, statistics: CrossProducts) -> CollapsedDensity:
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
    def elimination(self) -> Elimination:
        """How the factors are integrated out; depends only on the statistics."""
        return choose(self.statistics) if self.known is None else self.known

    def __getstate__(self) -> dict[str, Any]:
        """Cached values are left out: they are recomputed from the fields when needed."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"known": None}

    @property
    def dimension(self) -> int:
        """Number of coordinates, without sigma."""
        return self.covariances.dimension

    @property
    def flops(self) -> float:
        """Approximate floating point operations of one evaluation."""
        P = len(self.residual.prior)
        return self.elimination.flops + 10 * P**3

    def with_statistics(self, statistics: CrossProducts) -> CollapsedDensity:
        """The same model, priors and units with other rows, whose factors may have new levels."""
        return replace(self, statistics=statistics, residual=replace(self.residual, n=statistics.n), known=None)

    def with_covariances(self, covariances: Covariances) -> CollapsedDensity:
        """The same rows with other coordinates of the covariances."""
        return replace(self, covariances=covariances, known=self.elimination)

    def reduce(self, theta: np.ndarray) -> Reduced:
        """Integrate all group effects out at N points, (dimension, N)."""
        relative = self.covariances.at(theta)
        N = theta.shape[1]
        P = len(self.residual.prior)
        G, log_det = products_of(P, N), np.empty(N)
        for points in self.chunks(N):
            G[..., points], log_det[points] = self.elimination.reduce([root[..., points] for root in relative.roots])
        return Reduced(G, log_det, relative.sds, relative.log_prior)

    def log_joint(self, theta: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Log of p(y, theta, s), (N,), at N points theta (dimension, N) and s (N,)."""
        result = np.empty(len(s))
        for points in self.passes(len(s)):
            result[points] = self.residual.log_density(self.reduce(theta[:, points]), s[points])
        return result

    def passes(self, n: int) -> Iterator[slice]:
        """Points whose matrices G are held in memory together."""
        return chunks(n, self.residual.prior.size, allowed().working)

    def chunks(self, n: int) -> Iterator[slice]:
        """Points that are evaluated together."""
        return chunks(n, self.elimination.size, allowed().points)
