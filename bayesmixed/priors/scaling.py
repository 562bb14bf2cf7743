"""Where the samplers work: location and scale of the response, of common columns, and of slopes far from zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayesmixed.design.factors import Effects
from bayesmixed.design.moments import Moments
from bayesmixed.design.summed.summed import Measured
from bayesmixed.families.base import Family
from bayesmixed.priors.defaults import FAR, far_slopes, predictor_scale
from bayesmixed.priors.priors import Priors
from bayesmixed.priors.swept import swept_columns

_ROUNDING = 1e-10  # of a column's scale: the mean of a column swept of the intercept, which is only rounding


@dataclass(frozen=True)
class Scaling:
    """Units in which every parameter is of order one.

    The priors are stated on swept columns ``X_s = [1, X] T`` (`bayesmixed.priors.swept`). With
    ``X_c = (X_s - x_location) / x_scale`` the linear predictor of the common part is
    ``a + X_c @ (x_scale * beta_s)`` with ``a = Intercept_s + x_location @ beta_s``, the intercept at the centre of
    the data, where it is nearly independent of `beta_s`.

    Attributes
    ----------
    y_location, y_scale : float
        Of the linear predictor, as its family defines them: for a Gaussian, those of the response minus offset. Without
        an intercept the scale is the root mean square and the location 0, as nothing in the model could absorb another.
    x_location, x_scale : numpy.ndarray of shape (p,)
        Of the swept columns; the location is 0 where they were swept of the intercept of these data.
    T : numpy.ndarray of shape (p + 1, p + 1), or (p, p) without an intercept
    """

    STORED: ClassVar[tuple[str, ...]] = ("y_location", "y_scale", "x_location", "x_scale", "T")

    y_location: float
    y_scale: float
    x_location: np.ndarray
    x_scale: np.ndarray
    T: np.ndarray

    @classmethod
    def learn(cls, design: Measured, family: Family, priors: Priors) -> Scaling:
        """Measure a design.

        A prior that bounds the intercept (such as a half-normal one) cannot be moved to another place, so the columns
        then stay where they are.
        """
        y_location, y_scale = predictor_scale(design, family)
        measured, p = design.statistics.common, len(design.common_names)
        T = priors.common_sweep(design.common_names)
        swept = measured.select(slice(p)).combined(*parts(T, p))
        x_location, x_scale = swept.location_and_scale(design.has_intercept)
        centred = design.has_intercept and not (priors.intercept is not None and priors.intercept.positive)
        x_location = np.where(centred & (np.abs(x_location) > _ROUNDING * x_scale), x_location, 0.0)
        return cls(y_location if design.has_intercept else 0.0, y_scale, x_location, x_scale, T)

    def columns(self, X: np.ndarray) -> np.ndarray:
        """X_c of some rows, (n, p)."""
        return (_swept(self.T, X) - self.x_location) / self.x_scale


def _swept(T: np.ndarray, X: np.ndarray) -> np.ndarray:
    """``[1, X] T`` without its first column, if T has one for the intercept."""
    among, shift = parts(T, X.shape[1])
    return swept_columns(among, X) + shift


def parts(T: np.ndarray, p: int) -> tuple[np.ndarray, np.ndarray]:
    """T's action among the p columns, (p, p), and what it subtracts of the intercept from each, (p,)."""
    return T[len(T) - p :, len(T) - p :], T[0, 1:] if len(T) > p else np.zeros(p)


def far_means(measured: Moments, is_binary: np.ndarray, factor: Effects, far: float = FAR) -> np.ndarray:
    """Where a factor's covariance is sampled: at the slopes' means if one is more than `far` sds from 0, else 0; (q,).

    Only slopes that may correlate with the group intercept move, and then all of them.

    Parameters
    ----------
    measured : Moments
        Of the factor's columns, swept as its prior is stated.
    is_binary : numpy.ndarray of bool, shape (q,)
        As in `far_slopes`.
    factor : Effects
    far : float, default=3
    """
    at = factor.intercept_at
    block = next((list(block) for block in factor.blocks if at in block), [])
    mean = np.zeros(len(factor.effect_names))
    if np.any(far_slopes(measured, is_binary, factor, far)[block]):
        mean[block] = measured.mean[block]
        mean[at] = 0.0
    return mean
