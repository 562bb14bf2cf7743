"""The normal distribution."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from bayesmixed.families.base import Array, Family, Link


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


def gaussian(link: Link) -> Family:
    """The family, with a link."""
    return Family(
        "gaussian",
        link,
        auxiliary=("sigma",),
        log_density=_normal_log_density,
        cdf=_normal_cdf,
        quantile=_normal_quantile,
        variance=_normal_variance,
        widened=_normal_widened,
    )
