"""Families and links in one table (NumPy only): what the response may be and how it scatters about its mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from bayesmixed.errors import quoted

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


def _normal_log_density(y: Array, mu: Array, sigma: Array) -> Array:
    return -0.5 * np.square((y - mu) / sigma) - np.log(sigma) - 0.5 * np.log(2 * np.pi)


def _normal_cdf(y: Array, mu: Array, sigma: Array) -> Array:
    return ndtr((y - mu) / sigma)


def _normal_quantile(u: Array, mu: Array, sigma: Array) -> Array:
    return mu + sigma * ndtri(u)


def _normal_variance(mu: Array, sigma: Array) -> Array:
    return np.square(sigma) + np.zeros_like(mu)


def _normal_widened(variance: Array, sigma: Array) -> dict[str, Array]:
    return {"sigma": np.sqrt(np.square(sigma) + variance)}


def _same(values: Array) -> Array:
    return values


LINKS = {"identity": Link("identity", _same, _same)}
# family -> (usual link, links that may be used, the rest)
_FAMILIES: dict[str, tuple[str, tuple[str, ...], dict]] = {
    "gaussian": (
        "identity",
        ("identity",),
        {
            "auxiliary": ("sigma",),
            "log_density": _normal_log_density,
            "cdf": _normal_cdf,
            "quantile": _normal_quantile,
            "variance": _normal_variance,
            "widened": _normal_widened,
        },
    ),
}


def get_family(name: str, link: str | None = None) -> Family:
    """Look up a family.

    Parameters
    ----------
    name : {"gaussian"}
    link : {"identity"}, optional
        Default: the family's usual link.

    Raises
    ------
    ValueError
        For an unknown family or link; the message lists the known ones.

    Examples
    --------
    >>> get_family("gaussian").auxiliary
    ('sigma',)
    """
    if name not in _FAMILIES:
        raise ValueError(f"family must be one of {quoted(_FAMILIES)}, got {name!r}.")
    usual, allowed, rest = _FAMILIES[name]
    if link is not None and link not in allowed:
        raise ValueError(f"link of family {name!r} must be None or one of {quoted(allowed)}, got {link!r}.")
    return Family(name, LINKS[link or usual], **rest)
