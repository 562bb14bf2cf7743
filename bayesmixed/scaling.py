"""Where the samplers work: location and scale of the response, of common columns, and of slopes far from zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmixed.design import Design
from bayesmixed.grouping import GroupFactor
from bayesmixed.priors import FAR, Priors, far_slopes, moments

# The residual sd is kept above this fraction of the response's scale, so that a perfect fit has a posterior.
SIGMA_FLOOR = 1e-6


@dataclass(frozen=True)
class Scaling:
    """Units in which every parameter is of order one.

    With ``X_c = (X - x_location) / x_scale`` the linear predictor of the common part is
    ``a + X_c @ (x_scale * beta)`` with ``a = Intercept + x_location @ beta``, the intercept at the centre
    of the data, where it is nearly independent of `beta`.

    Attributes
    ----------
    y_location, y_scale : float
        Of the response minus offset; 0 and the root mean square without an intercept.
    x_location, x_scale : numpy.ndarray of shape (p,)
    """

    y_location: float
    y_scale: float
    x_location: np.ndarray
    x_scale: np.ndarray

    @classmethod
    def learn(cls, design: Design, priors: Priors) -> Scaling:
        """Measure a design.

        A prior that bounds the Intercept itself (a half-normal one) cannot be stated at the centre of the
        data: the columns then stay where they are.
        """
        centred = design.has_intercept and not (priors.intercept is not None and priors.intercept.positive)
        y_location, y_scale = moments(design.response, design.weights, design.has_intercept)
        x_location, x_scale = moments(design.X, design.weights, design.has_intercept)
        return cls(float(y_location), float(y_scale), x_location if centred else 0.0 * x_location, x_scale)

    @property
    def sigma_floor(self) -> float:
        """Least residual sd."""
        return SIGMA_FLOOR * self.y_scale


def far_means(factor: GroupFactor, weights: np.ndarray | None, far: float = FAR) -> np.ndarray:
    """Where a factor's covariance is sampled: the slopes' means if one is more than `far` sds from zero, else 0; (q,).

    Only slopes that may correlate with the group intercept move, and then all of them.
    """
    at = factor.effect_names.index("Intercept") if "Intercept" in factor.effect_names else None
    block = next((list(block) for block in factor.blocks if at in block), [])
    mean = np.zeros(len(factor.effect_names))
    if np.any(far_slopes(factor, weights, far)[block]):
        mean[block] = moments(factor.Z, weights, centred=True)[0][block]
        mean[at] = 0.0
    return mean
