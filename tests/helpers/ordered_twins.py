"""Families of ordered classes, with thresholds by their definition and probabilities by plain quadrature."""

import numpy as np

from bayesmixed.families.cumulative import Cumulative
from bayesmixed.families.links import LINKS

CLASSES = ("none", "little", "some", "much", "all")
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)


def ordered(link="logit", K=5):
    """The family, of the first K classes."""
    return Cumulative(LINKS[link], CLASSES[:K])


def log_probability(link, lower, upper):
    """Log of the probability between two numbers: the density is integrated, less its log where it is largest."""

    def log_density(x):
        return -np.abs(x) - 2 * np.log1p(np.exp(-np.abs(x))) if link == "logit" else -0.5 * x**2

    peak = min(max(lower, 0.0), upper) if lower <= upper else np.nan
    reach = 45.0 if link == "logit" else 45.0 / max(abs(peak), 1.0) if abs(peak) > 1 else 12.0
    low, high = max(lower, peak - reach), min(upper, peak + reach)
    x = (high + low) / 2 + (high - low) / 2 * _NODES
    integral = (high - low) / 2 * (_WEIGHTS @ np.exp(log_density(x) - log_density(peak)))
    constant = 0.0 if link == "logit" else -0.5 * np.log(2 * np.pi)
    return log_density(peak) + constant + np.log(integral)


def thresholds_of(family, intercept, auxiliary):
    """Thresholds, one draw, by the definition: the middle one is minus the intercept, the gaps lie between."""
    K = len(family.classes)
    c, m = np.empty(K - 1), (K - 1) // 2
    c[m] = -intercept
    for k in range(m + 1, K - 1):
        c[k] = c[k - 1] + auxiliary[f"gaps[{family.classes[k]}]"]
    for k in range(m, 0, -1):
        c[k - 1] = c[k] - auxiliary[f"gaps[{family.classes[k]}]"]
    return c
