"""What a family and a link are: what the response may be, and how it scatters about its linear predictor.

What another room needs to know of a distribution it asks the family; none reads a family's name. Shapes: `eta` is
(n, S), a row's draws side by side; the response and what belongs to a row broadcast as (n, 1), the auxiliary parameters
as (S,).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bayesmixed.distributions import Prior

Array = np.ndarray


class Link(ABC):
    """How the mean of the response relates to the linear predictor.

    Attributes
    ----------
    name : str
    scale : float
        What a coefficient of one on the logit scale is on this one, roughly: default priors are as wide.
    """

    name: ClassVar[str]
    scale: ClassVar[float] = 1.0

    @abstractmethod
    def link(self, mu: Array) -> Array:
        """Linear predictor of a mean, elementwise."""

    @abstractmethod
    def inverse(self, eta: Array) -> Array:
        """Mean of a linear predictor, elementwise."""

    @abstractmethod
    def marginal(self, m: Array, v: Array) -> Array:
        """Mean of ``inverse(eta)`` over eta ~ N(m, v), elementwise."""

    @abstractmethod
    def pymc(self, pm: Any, eta: Any) -> Any:
        """`inverse` of a tensor; `pm` is the module PyMC."""


@dataclass(frozen=True)
class Response:
    """What a family is told of the rows of a fit, to state default priors and to check the response.

    Attributes
    ----------
    y : numpy.ndarray of shape (n,)
    offset, weights : numpy.ndarray of shape (n,), or None
    location, scale : float
        Weighted mean and standard deviation of `Family.working` of y, less the offset; 0 and root mean square in a
        model without an intercept.
    """

    y: Array
    offset: Array | None
    weights: Array | None
    location: float
    scale: float


class Family(ABC):
    """The distribution of the response given its linear predictor; a subclass is final, and has a file of its own.

    Parameters
    ----------
    link : Link

    Attributes
    ----------
    name : str
    links : tuple of str
        Names of the links that may be used, the usual one first.
    auxiliary : tuple of str
        Names of the further parameters, as in the posterior; all are positive.
    linear : bool
        Whether the mean of the response is the linear predictor itself.
    collapses : bool
        Whether `working` of the response is normal about the linear predictor, with standard deviation ``sigma``:
        effects integrate out then.
    residual : bool
        Whether a response that the effects explain without residual leaves nothing to estimate its scale from.
    """

    name: ClassVar[str]
    links: ClassVar[tuple[str, ...]]
    auxiliary: ClassVar[tuple[str, ...]] = ()
    linear: ClassVar[bool] = False
    collapses: ClassVar[bool] = False
    residual: ClassVar[bool] = False

    def __init__(self, link: Link) -> None:
        self.link = link

    @abstractmethod
    def check(self, y: Array) -> None:
        """Refuse a response that is outside of the support, or leaves nothing to explain.

        Raises
        ------
        ValueError
            Names the first row that is wrong, and the cure.
        """

    def working(self, y: Array) -> Array:
        """The response on the scale of the linear predictor, where it has one."""
        return y

    def location_and_scale(self, response: Response) -> tuple[float, float]:
        """Where the linear predictor is, and how far it may be from there: what default priors are scaled by."""
        return response.location, response.scale

    @abstractmethod
    def auxiliary_priors(self, scale: float) -> dict[str, Prior]:
        """Default priors of the auxiliary parameters; `scale` is that of `location_and_scale`."""

    def floors(self, scale: float) -> dict[str, float]:
        """Values above which auxiliary parameters are kept, where these are not zero."""
        return {}

    @abstractmethod
    def log_density(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        """Log density, or log probability, elementwise."""

    @abstractmethod
    def cdf(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        """Distribution function, elementwise."""

    @abstractmethod
    def quantile(self, u: Array, eta: Array, **auxiliary: Array) -> Array:
        """Inverse of the distribution function at u in (0, 1), elementwise: at uniform numbers, random responses."""

    def mean(self, eta: Array, **auxiliary: Array) -> Array:
        """Mean of the response, elementwise."""
        return self.link.inverse(eta)

    def marginal_mean(self, m: Array, v: Array, **auxiliary: Array) -> Array:
        """Mean of the response over eta ~ N(m, v), elementwise."""
        return self.link.marginal(m, v)

    @abstractmethod
    def variance(self, eta: Array, **auxiliary: Array) -> Array:
        """Variance of the response, elementwise."""

    @abstractmethod
    def latent_variance(self, mu: Array, **auxiliary: Array) -> Array:
        """Variance of the response on the scale of the linear predictor, about a mean of `mu`, elementwise."""

    def widened(self, variance: Array, **auxiliary: Array) -> dict[str, Array]:
        """Auxiliary parameters of the response where its linear predictor is itself normal, with that variance.

        Only a family that `collapses` has them: elsewhere such a response is not of the family.
        """
        raise NotImplementedError(f"a normal linear predictor has to be drawn for family {self.name!r}.")

    @abstractmethod
    def pymc(self, pm: Any, eta: Any, auxiliary: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """PyMC's distribution of the response, and its parameters.

        Parameters
        ----------
        pm : module
            PyMC, which a family does not import itself.
        eta : tensor of shape (n,)
        auxiliary : dict of str to tensor
        """
