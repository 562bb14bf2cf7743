"""The target in the transport's coordinates, its residual force, and the Gaussian that it is close to.

With w(z, t) the working Gaussian's draw (`factorised`), the log density of (z, t) is

    - z'z / 2 + log p(x) + log |dx/dt| + log I(x) + sum_i D_i,
    D_i = l_i(eta_i) - kappa (a_i lin_i - W_i lin_i^2 / 2),

I being the working Gaussian's integral: only cubic and higher terms of the rows are left. The linear term a_i may
follow auxiliary parameters (`Reference`). What is left besides N(0, I) in (z, t) is the residual. Its derivative with
respect to z is exact; that with respect to t is a forward difference of the transport itself, at fixed z. Leapfrog
steps preserve volume and are reversible for any force that depends only on position, so an error in the force costs
acceptance and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmixed.chunks import allowed, at_once
from bayesmixed.sampling.transport.constants import DIFFERENCE
from bayesmixed.sampling.transport.coordinates import Coordinates, Points
from bayesmixed.sampling.transport.working.factorised import Factorised, factorise
from bayesmixed.sampling.transport.working.products import WorkingGaussian
from bayesmixed.sampling.transport.working.rows import Evaluated, Reference, Rows


@dataclass(frozen=True)
class State:
    """Where C chains are.

    Attributes
    ----------
    x : numpy.ndarray of shape (size + d, C)
        z, then t.
    w : numpy.ndarray of shape (size, C)
    points : Points
    residual : numpy.ndarray of shape (C,)
        Log density minus that of N(0, I), up to a constant; -inf where it is not a number.
    force : numpy.ndarray of shape (size + d, C)
        Derivative of the residual.
    """

    x: np.ndarray
    w: np.ndarray
    points: Points
    residual: np.ndarray
    force: np.ndarray

    @property
    def log_density(self) -> np.ndarray:
        """Of (z, t), up to a constant, (C,)."""
        return self.residual - 0.5 * np.square(self.x).sum(axis=0)

    def where(self, accepted: np.ndarray, other: State) -> State:
        """The chains of `other` where accepted, otherwise these."""
        if accepted.all():
            return other
        if not accepted.any():
            return self

        def chosen(theirs: np.ndarray, own: np.ndarray) -> np.ndarray:
            return np.where(accepted, theirs, own)

        own, theirs = self.points, other.points
        points = Points(
            chosen(theirs.x, own.x),
            [chosen(a, b) for a, b in zip(theirs.roots, own.roots, strict=True)],
            {name: chosen(values, own.auxiliary[name]) for name, values in theirs.auxiliary.items()},
            chosen(theirs.log_prior, own.log_prior),
        )
        return State(
            chosen(other.x, self.x),
            chosen(other.w, self.w),
            points,
            chosen(other.residual, self.residual),
            chosen(other.force, self.force),
        )


@dataclass(frozen=True)
class Transported:
    """N points, and where the transport maps noise there.

    Attributes
    ----------
    points : Points
    factorised : Factorised
    w : numpy.ndarray of shape (size, N)
    """

    points: Points
    factorised: Factorised
    w: np.ndarray

    @property
    def log_gaussian(self) -> np.ndarray:
        """Log density of the coordinates under the working Gaussian, with its effects integrated out, (N,)."""
        return self.points.log_prior + self.factorised.log_integral

    @property
    def kappa(self) -> np.ndarray:
        """Concentrations, (N,)."""
        return np.square(self.factorised.scale)

    def take(self, n: int) -> Transported:
        """The first n."""
        return Transported(self.points.take(n), self.factorised.take(n), self.w[:, :n])


@dataclass(frozen=True)
class Target:
    """The density of one model at one reference.

    Attributes
    ----------
    rows : Rows
    coordinates : Coordinates
    reference : Reference
    gaussian : WorkingGaussian
        Of the reference.
    """

    rows: Rows
    coordinates: Coordinates
    reference: Reference
    gaussian: WorkingGaussian

    @classmethod
    def of(cls, rows: Rows, coordinates: Coordinates, reference: Reference) -> Target:
        """With the cross-products of the rows at the reference."""
        return cls(rows, coordinates, reference, WorkingGaussian.of(rows, reference))

    def transport(self, points: Points, width: int | None = None) -> Factorised:
        """The working Gaussian at N points; see `transport`."""
        return transport(self.rows, self.gaussian, points, width)

    def evaluate(self, x: np.ndarray) -> State:
        """Density and force at (size + d, C)."""
        size, C = self.rows.layout.size, x.shape[1]
        z, t = x[:size], x[size:]
        every = len(t) + 1
        together = min(every, at_once(4 * size * C, allowed().points))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # far out, where the density is zero
            # no step, then one along each coordinate; steps that do not fit in come afterwards
            first = self._moved(z, t, range(together))
            base, w = first.take(C), first.w[:, :C]
            rows = self.rows.evaluate(w, base.points.auxiliary, self.reference)
            changes = [self._change(base, first, rows)[1:]]
            for start in range(together, every, together):
                steps = range(start, min(start + together, every))
                changes.append(self._change(base, self._moved(z, t, steps), rows))
            by_t = np.concatenate(changes) / DIFFERENCE + self.coordinates.slope(base.points, rows.by_auxiliary) + t
            force = np.concatenate([base.factorised.adjoint(rows.by_effect), by_t])
            residual = base.log_gaussian + rows.residual + 0.5 * np.square(t).sum(axis=0)
        residual = np.where(np.isfinite(residual) & np.isfinite(force).all(axis=0), residual, -np.inf)
        return State(x, w, base.points, residual, force)

    def _moved(self, z: np.ndarray, t: np.ndarray, steps: range) -> Transported:
        """The transport at coordinates shifted along one of them; step 0 is no shift, step k is along the kth."""
        d, numbers = len(t), np.array(steps)
        moved = np.repeat(t[:, None], len(numbers), axis=1)
        along = np.flatnonzero(numbers)
        moved[numbers[along] - 1, along] += DIFFERENCE
        points = self.coordinates.at(moved.reshape(d, len(numbers) * t.shape[1]))
        factorised = self.transport(points, t.shape[1])
        return Transported(points, factorised, factorised.effects(np.tile(z, len(numbers))))

    @staticmethod
    def _change(base: Transported, moved: Transported, rows: Evaluated) -> np.ndarray:
        """Change of the residual by k steps, (k, C), except for t't / 2 and the direct dependence of l_i on theta.

        At first order in the change of w: g'(w(t + h e_k) - w(t)) + log p_G(t + h e_k) - log p_G(t) - (kappa_k - kappa)
        Q, where g is the residual's derivative with respect to w and Q the sum of the rows' quadratics.
        """
        size, C = base.w.shape
        steps = moved.w.shape[1] // C
        change = np.einsum("sc,skc->kc", rows.by_effect, moved.w.reshape(size, steps, C) - base.w[:, None])
        change += moved.log_gaussian.reshape(-1, C) - base.log_gaussian
        return change - (moved.kappa.reshape(-1, C) - base.kappa) * rows.quadratic


def transport(rows: Rows, gaussian: WorkingGaussian, points: Points, width: int | None = None) -> Factorised:
    """The working Gaussian of some rows at N points; `width` as in `factorise`, default N."""
    kappa = rows.family.concentration(**points.auxiliary) * np.ones(points.x.shape[1])
    moved = gaussian.moved(points.auxiliary, len(kappa))
    return factorise(gaussian, [points.roots[f] for f in rows.layout.factors], kappa, moved, width or len(kappa))
