"""What a family and a link are (NumPy only): what the response may be, and how it scatters about its mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Link:
    """How the mean of the response relates to the linear predictor.

    Attributes
    ----------
    name : str
    link : callable
        ``eta = link(mu)``, elementwise.
    inverse : callable
        ``mu = inverse(eta)``, elementwise.
    """

    name: str
    link: Callable[[Array], Array]
    inverse: Callable[[Array], Array]


@dataclass(frozen=True)
class Family:
    """The distribution of the response given its mean.

    Attributes
    ----------
    name : str
    link : Link
    auxiliary : tuple of str
        Names of the further parameters, as in the posterior.
    log_density : callable
        ``log_density(y, mu, **auxiliary)``, elementwise.
    cdf : callable
        ``cdf(y, mu, **auxiliary)``, elementwise: the distribution function.
    quantile : callable
        ``quantile(u, mu, **auxiliary)``, elementwise, for ``u`` in (0, 1).
    variance : callable
        ``variance(mu, **auxiliary)``, elementwise.
    widened : callable
        ``widened(variance, **auxiliary)``: the auxiliary parameters of the response where its linear predictor is
        itself normal, with that variance.
    """

    name: str
    link: Link
    auxiliary: tuple[str, ...]
    log_density: Callable[..., Array]
    cdf: Callable[..., Array]
    quantile: Callable[..., Array]
    variance: Callable[..., Array]
    widened: Callable[..., dict[str, Array]]
