"""Link functions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit, log_expit, log_ndtr, logit, ndtr, ndtri

from bayesmixed.families.base import Array, Link, ProbabilityLink, Response

_LARGE = 700.0  # its exponential still fits a double
_TINY = -40.0  # its exponential is lost when added to 1
END = 1e10  # a threshold with nothing beyond it
_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)
_TAIL = -30.0  # below which four terms of an asymptotic series give the log of the distribution to full precision
# For the trapezoidal rule, in standard deviations. Its error falls with exp(-2 pi a / (sd step)) for a function that is
# analytic within a of the real line, and with exp(-2 pi^2 / step^2) for the normal density: exp(-30) is invisible
_EXPONENT, _REACH, _MAX_NODES = 30.0, 8.0, 1025


def _trapezoidal(function: Callable[[Array], Array], analytic: float, m: Array, v: Array) -> Array:
    """Mean over eta ~ N(m, v) of a function that is analytic within `analytic` of the real line.

    Trefethen & Weideman (2014), The exponentially convergent trapezoidal rule, SIAM Review 56, theorem 5.1.
    """
    sd, total = np.sqrt(v), np.zeros(np.broadcast_shapes(np.shape(m), np.shape(v)))
    widest = max(float(np.nanmax(sd, initial=0.0)), 1e-300)
    step = min(2 * np.pi * analytic / (widest * _EXPONENT), np.pi * np.sqrt(2 / _EXPONENT))
    nodes = np.linspace(-_REACH, _REACH, min(1 + 2 * int(np.ceil(_REACH / step)), _MAX_NODES))
    weights = np.exp(-0.5 * np.square(nodes))
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        total += weight * function(m + sd * node)
    return total


def _mills(eta: Array) -> Array:
    """Normal density over the distribution function, to full precision in the left tail."""
    return np.exp(-0.5 * np.square(eta) - 0.5 * np.log(2 * np.pi) - log_ndtr(eta))


def _pymc_log_ndtr(pm: Any, x: Any) -> Any:
    """Log of the normal distribution function of a tensor.

    The tail is Abramowitz & Stegun (1964), 26.2.12. The branch not taken is evaluated at the border instead: the
    gradient of an infinite value would be NaN, 0 times infinity.
    """
    is_tail = x < _TAIL
    near, far = pm.math.switch(is_tail, _TAIL, x), pm.math.switch(is_tail, x, _TAIL)
    s = 1 / pm.math.sqr(far)
    tail = -0.5 / s - pm.math.log(-far * np.sqrt(2 * np.pi)) + pm.math.log(1 - s * (1 - 3 * s * (1 - 5 * s)))
    return pm.math.switch(is_tail, tail, pm.math.log(0.5 * pm.math.erfc(-near / np.sqrt(2))))


def _hazard_ratio(hazard: Array) -> Array:
    """``hazard / (exp(hazard) - 1)``, 1 where the hazard is tiny and 0 where it is large."""
    small = np.clip(hazard, 1e-300, _LARGE)
    return small / np.expm1(small) * (hazard <= _LARGE)


class Identity(Link):
    """The linear predictor is the mean."""

    name = "identity"

    def link(self, mu: Array) -> Array:
        return mu

    def inverse(self, eta: Array) -> Array:
        return eta

    def marginal(self, m: Array, v: Array) -> Array:
        return m

    def pymc(self, pm: Any, eta: Any) -> Any:
        return eta


class Log(Link):
    """The linear predictor is the logarithm of the mean."""

    name = "log"

    def link(self, mu: Array) -> Array:
        return np.log(mu)

    def inverse(self, eta: Array) -> Array:
        return np.exp(eta)

    def marginal(self, m: Array, v: Array) -> Array:
        return np.exp(m + v / 2)  # the mean of a log-normal variable

    def pymc(self, pm: Any, eta: Any) -> Any:
        return pm.math.exp(eta)


class SymmetricLink(ProbabilityLink):
    """A link whose inverse F is the distribution function of a density that is symmetric about zero.

    Intervals between thresholds have probabilities under it: p = F(upper) - F(lower), with ``width = upper - lower``.
    An end may be ``END``, beyond which nothing lies, but not infinite, as it would be multiplied by a density of zero.
    """

    @abstractmethod
    def between(self, lower: Array, upper: Array, width: Array) -> Array:
        """p, to full precision in both tails."""

    @abstractmethod
    def log_between(self, lower: Array, upper: Array, width: Array) -> Array:
        """Log of p, likewise."""

    @abstractmethod
    def between_slopes(self, lower: Array, upper: Array, width: Array) -> tuple[Array, Array, Array, Array]:
        """Log of p; its derivatives with respect to lower (negative) and upper (positive); minus their sum.

        That sum is the derivative when both ends move together; it is computed on its own, as in a narrow interval the
        two are large and nearly cancel.
        """

    @abstractmethod
    def between_curvatures(self, lower: Array, upper: Array, width: Array) -> tuple[Array, Array]:
        """Derivatives, with respect to lower and upper, of minus the sum of the slopes."""

    @abstractmethod
    def marginal_between(self, lower: Array, upper: Array, width: Array, v: Array) -> Array:
        """Mean of p when an N(0, v) variable is subtracted from both ends."""

    @abstractmethod
    def pymc_log_between(self, pm: Any, lower: Any, upper: Any, width: Any) -> Any:
        """`log_between` of tensors, with finite gradients; `pm` is the module PyMC."""


class Logit(SymmetricLink):
    """The linear predictor is the log-odds."""

    name = "logit"
    latent_variance = np.pi**2 / 3

    def link(self, mu: Array) -> Array:
        return logit(mu)

    def inverse(self, eta: Array) -> Array:
        return expit(eta)

    def complement(self, eta: Array) -> Array:
        return expit(-eta)

    def marginal(self, m: Array, v: Array) -> Array:
        return _trapezoidal(self.inverse, np.pi, m, v)  # the poles of its inverse

    def marginal_complement(self, m: Array, v: Array) -> Array:
        return self.marginal(-m, v)

    def log_inverse(self, eta: Array) -> Array:
        return log_expit(eta)

    def log_complement(self, eta: Array) -> Array:
        return log_expit(-eta)

    def log_slopes(self, eta: Array) -> tuple[Array, Array]:
        return expit(-eta), -expit(eta)

    def logs(self, eta: Array) -> tuple[Array, Array, Array, Array]:
        """From one exponential for all four."""
        small = np.exp(-np.abs(eta))
        log_sum, share = np.log1p(small), 1 / (1 + small)
        above = eta >= 0
        p, q = np.where(above, share, small * share), np.where(above, small * share, share)
        return np.minimum(eta, 0.0) - log_sum, -np.maximum(eta, 0.0) - log_sum, q, -p

    def log_curvatures(self, eta: Array) -> tuple[Array, Array]:
        curvature = expit(eta) * expit(-eta)
        return curvature, curvature

    def slope(self, mu: Array) -> Array:
        return mu * (1 - mu)

    def pymc_logs(self, pm: Any, eta: Any) -> tuple[Any, Any]:
        return -pm.math.log1pexp(-eta), -pm.math.log1pexp(eta)

    def between(self, lower: Array, upper: Array, width: Array) -> Array:
        return expit(upper) * expit(-lower) * -np.expm1(-width)

    def log_between(self, lower: Array, upper: Array, width: Array) -> Array:
        """From p = F(upper) F(-lower) (1 - exp(-width))."""
        return log_expit(upper) + log_expit(-lower) + np.log(-np.expm1(-width))

    def between_slopes(self, lower: Array, upper: Array, width: Array) -> tuple[Array, Array, Array, Array]:
        below_upper, _, above, _ = self.logs(upper)
        _, above_lower, _, below = self.logs(lower)
        own = 1 / np.expm1(np.minimum(width, _LARGE))
        return below_upper + above_lower + np.log(-np.expm1(-width)), below - own, above + own, -(below + above)

    def between_curvatures(self, lower: Array, upper: Array, width: Array) -> tuple[Array, Array]:
        return expit(lower) * expit(-lower), expit(upper) * expit(-upper)

    def marginal_between(self, lower: Array, upper: Array, width: Array, v: Array) -> Array:
        def moved(by: Array) -> Array:
            return expit(upper - by) * expit(by - lower)

        origin = np.zeros(np.broadcast_shapes(np.shape(lower), np.shape(v)))
        return _trapezoidal(moved, np.pi, origin, v) * -np.expm1(-width)

    def pymc_log_between(self, pm: Any, lower: Any, upper: Any, width: Any) -> Any:
        half = pm.math.tanh(width / 2)  # 1 - exp(-width) = 2 half / (1 + half), to full precision
        return pm.math.log(2 * half / (1 + half)) - pm.math.log1pexp(-upper) - pm.math.log1pexp(lower)


class Probit(SymmetricLink):
    """The linear predictor is the normal quantile of the mean."""

    name = "probit"
    latent_variance = 1.0
    scale = 1 / 1.6  # the logistic density is about normal with a standard deviation of 1.6

    def link(self, mu: Array) -> Array:
        return ndtri(mu)

    def inverse(self, eta: Array) -> Array:
        return ndtr(eta)

    def complement(self, eta: Array) -> Array:
        return ndtr(-eta)

    def marginal(self, m: Array, v: Array) -> Array:
        return ndtr(m / np.sqrt(1 + v))  # P(e < eta) for e ~ N(0, 1)

    def marginal_complement(self, m: Array, v: Array) -> Array:
        return self.marginal(-m, v)

    def log_inverse(self, eta: Array) -> Array:
        return log_ndtr(eta)

    def log_complement(self, eta: Array) -> Array:
        return log_ndtr(-eta)

    def log_slopes(self, eta: Array) -> tuple[Array, Array]:
        return _mills(eta), -_mills(-eta)

    def log_curvatures(self, eta: Array) -> tuple[Array, Array]:
        up, down = _mills(eta), _mills(-eta)
        return np.maximum(up * (up + eta), 0.0), np.maximum(down * (down - eta), 0.0)

    def slope(self, mu: Array) -> Array:
        return np.exp(-0.5 * np.square(ndtri(mu))) / np.sqrt(2 * np.pi)

    def pymc_logs(self, pm: Any, eta: Any) -> tuple[Any, Any]:
        return _pymc_log_ndtr(pm, eta), _pymc_log_ndtr(pm, -eta)

    def between(self, lower: Array, upper: Array, width: Array) -> Array:
        return np.exp(self.log_between(lower, upper, width))

    def log_between(self, lower: Array, upper: Array, width: Array) -> Array:
        """In the lower tail, where the difference keeps its digits: the interval's mirror image has the same p."""
        swap = lower + upper > 0
        lower, upper = np.where(swap, -upper, lower), np.where(swap, -lower, upper)
        below = log_ndtr(upper)
        return below + np.log(-np.expm1(log_ndtr(lower) - below))

    def between_slopes(self, lower: Array, upper: Array, width: Array) -> tuple[Array, Array, Array, Array]:
        log_p = self.log_between(lower, upper, width)
        at_lower, at_upper = (np.exp(-0.5 * np.square(end) - _HALF_LOG_2PI - log_p) for end in (lower, upper))
        return log_p, -at_lower, at_upper, at_lower - at_upper

    def between_curvatures(self, lower: Array, upper: Array, width: Array) -> tuple[Array, Array]:
        _, by_lower, by_upper, slope = self.between_slopes(lower, upper, width)
        return -by_lower * (slope - lower), by_upper * (upper - slope)

    def marginal_between(self, lower: Array, upper: Array, width: Array, v: Array) -> Array:
        wide = np.sqrt(1 + v)  # of the sum of two normal variables
        return self.between(lower / wide, upper / wide, width / wide)

    def pymc_log_between(self, pm: Any, lower: Any, upper: Any, width: Any) -> Any:
        swap = pm.math.gt(lower + upper, 0.0)
        low, high = pm.math.switch(swap, -upper, lower), pm.math.switch(swap, -lower, upper)
        below = _pymc_log_ndtr(pm, high)
        half = pm.math.tanh((below - _pymc_log_ndtr(pm, low)) / 2)
        return below + pm.math.log(2 * half / (1 + half))


class Cloglog(ProbabilityLink):
    """The linear predictor is log(-log(1 - mean)): for waiting times in discrete steps, the log of the hazard."""

    name = "cloglog"
    latent_variance = np.pi**2 / 6

    def link(self, mu: Array) -> Array:
        return np.log(-np.log1p(-mu))

    def inverse(self, eta: Array) -> Array:
        return -np.expm1(-np.exp(np.minimum(eta, _LARGE)))

    def complement(self, eta: Array) -> Array:
        return np.exp(self.log_complement(eta))

    def marginal(self, m: Array, v: Array) -> Array:
        # bounded to the left of the lines on which exp(-exp(eta)) begins to grow
        return _trapezoidal(self.inverse, np.pi / 2, m, v)

    def marginal_complement(self, m: Array, v: Array) -> Array:
        return _trapezoidal(self.complement, np.pi / 2, m, v)

    def log_inverse(self, eta: Array) -> Array:
        hazard = -self.log_complement(eta)
        # a tiny hazard is the mean itself
        return np.where(hazard < 1e-300, eta, np.log(np.maximum(-np.expm1(-hazard), 1e-300)))

    def log_complement(self, eta: Array) -> Array:
        return -np.exp(np.minimum(eta, _LARGE))

    def log_slopes(self, eta: Array) -> tuple[Array, Array]:
        hazard = np.exp(np.minimum(eta, _LARGE))
        return _hazard_ratio(hazard), -hazard

    def log_curvatures(self, eta: Array) -> tuple[Array, Array]:
        hazard = np.exp(np.minimum(eta, _LARGE))
        ratio = _hazard_ratio(hazard)
        return np.maximum(ratio * (hazard + ratio - 1), 0.0), hazard

    def slope(self, mu: Array) -> Array:
        return -(1 - mu) * np.log1p(-mu)

    def pymc_logs(self, pm: Any, eta: Any) -> tuple[Any, Any]:
        hazard = pm.math.exp(pm.math.minimum(eta, _LARGE))
        is_tiny = eta < _TINY  # where the mean is the hazard itself
        half = pm.math.switch(is_tiny, 0.5, pm.math.tanh(hazard / 2))
        mu = 2 * half / (1 + half)  # 1 - exp(-hazard), to full precision
        return pm.math.switch(is_tiny, eta, pm.math.log(mu)), -hazard


LINKS: dict[str, Link] = {link.name: link for link in (Identity(), Log(), Logit(), Probit(), Cloglog())}


def link_of_mean(link: Link, mean: float, response: Response) -> float:
    """Linear predictor of a mean, minus the average offset."""
    shift = 0.0 if response.offset is None else np.average(response.offset, weights=response.weights)
    return float(link.link(np.asarray(mean)) - shift)
