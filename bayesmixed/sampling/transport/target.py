"""The target in the transport's coordinates, its residual force, and the Gaussian that it is near to.

With w(z, t) the working Gaussian's draw (`factorised`) the log density of (z, t) is

    - z'z / 2 + log p(x) + log |dx/dt| + log I(x) + sum_i D_i,
    D_i = l_i(eta_i) - kappa (a_i lin_i - W_i lin_i^2 / 2),

I being the working Gaussian's integral: of the rows only what is cubic and higher is left. Beside N(0, I) in (z, t)
there is a residual, whose derivative by z is exact, and by t a forward difference of the transport itself, at fixed z:
leapfrog steps preserve volume and turn back for any force that is a function of the place, so that its error costs
acceptance and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmixed.chunks import allowed, at_once
from bayesmixed.sampling.transport.constants import DIFFERENCE
from bayesmixed.sampling.transport.coordinates import Coordinates, Points
from bayesmixed.sampling.transport.factorised import Factorised, factorise
from bayesmixed.sampling.transport.rows import Reference, Rows
from bayesmixed.sampling.transport.working import WorkingGaussian


@dataclass(frozen=True)
class State:
    """C chains at one time.

    Attributes
    ----------
    x : numpy.ndarray of shape (size + d, C)
        z, then t.
    w : numpy.ndarray of shape (size, C)
    points : Points
    residual : numpy.ndarray of shape (C,)
        Log density less that of N(0, I), but for a constant; -inf where it is not a number.
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
        """Of (z, t), but for a constant, (C,)."""
        return self.residual - 0.5 * np.square(self.x).sum(axis=0)

    def where(self, accepted: np.ndarray, other: State) -> State:
        """The chains of `other` where accepted, else these."""
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
        """Sum the reference up."""
        return cls(rows, coordinates, reference, WorkingGaussian.of(rows, reference))

    def transport(self, points: Points) -> Factorised:
        """The working Gaussian at N points."""
        return transport(self.rows, self.gaussian, points)

    def evaluate(self, x: np.ndarray) -> State:
        """Density and force at (size + d, C)."""
        size, d, C = self.rows.layout.size, self.coordinates.parameters.dimension, x.shape[1]
        z, t = x[:size], x[size:]
        # one step along each coordinate, after none; the last axis runs over chains
        moved = np.repeat(t[:, None], d + 1, axis=1)
        moved[np.arange(d), np.arange(1, d + 1)] += DIFFERENCE
        change, base = np.empty((d, C)), None
        together = at_once(4 * size * C, allowed().working)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # far out: no density there
            for start in range(0, d + 1, together):
                some = moved[:, start : start + together].reshape(d, -1)
                points = self.coordinates.at(some)
                factorised = self.transport(points)
                k = some.shape[1] // C
                w = factorised.effects(np.tile(z, k)).reshape(size, k, C)
                log_gaussian = (points.log_prior + factorised.log_integral).reshape(k, C)
                kappa = np.square(factorised.scale).reshape(k, C)
                if base is None:
                    own = points.take(C)
                    rows = self.rows.evaluate(w[:, 0], own.auxiliary, self.reference)
                    by_z = factorised.take(C).adjoint(rows.by_effect)
                    base = (w[:, 0], log_gaussian[0], kappa[0])
                begin = 1 if start == 0 else 0
                along = np.einsum("sc,skc->kc", rows.by_effect, w[:, begin:] - base[0][:, None])
                along += log_gaussian[begin:] - base[1] - (kappa[begin:] - base[2]) * rows.quadratic
                change[start + begin - 1 : start + k - 1] = along / DIFFERENCE
            force = np.concatenate([by_z, change + self.coordinates.slope(own, rows.by_auxiliary) + t])
            residual = base[1] + rows.residual + 0.5 * np.square(t).sum(axis=0)
        residual = np.where(np.isfinite(residual) & np.isfinite(force).all(axis=0), residual, -np.inf)
        return State(x, base[0], own, residual, force)


def transport(rows: Rows, gaussian: WorkingGaussian, points: Points) -> Factorised:
    """The working Gaussian of some rows at N points."""
    kappa = rows.family.concentration(**points.auxiliary) * np.ones(points.x.shape[1])
    return factorise(gaussian, [points.roots[f] for f in rows.layout.factors], kappa)
