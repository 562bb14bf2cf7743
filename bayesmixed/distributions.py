"""The prior distributions, as small frozen values on the user's scale."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import ClassVar

import numpy as np
from scipy.special import (
    betainc,
    betaincinv,
    erf,
    erfinv,
    gammainc,
    gammaincc,
    gammainccinv,
    gammaincinv,
    gammaln,
    ndtr,
    ndtri,
    stdtrit,
    xlogy,
)

from bayesmixed.errors import PriorError

_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True)
class Prior:
    """Base of the prior distributions; use a subclass."""

    positive: ClassVar[bool] = False  # whether the support is (0, inf)

    def __post_init__(self) -> None:
        for parameter in fields(self):
            value = getattr(self, parameter.name)
            if not isinstance(value, (int, float, np.number)) or isinstance(value, bool) or not np.isfinite(value):
                raise PriorError(f"{type(self).__name__}: {parameter.name} must be a finite number, got {value!r}.")
            if parameter.name != "mu" and value <= 0:
                raise PriorError(f"{type(self).__name__}: {parameter.name} must be positive, got {value!r}.")

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Logarithm of the normalised density at `x`, elementwise; -inf outside the support."""
        raise NotImplementedError

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Distribution function at `x`, elementwise; only for priors on (0, inf)."""
        raise NotImplementedError

    def quantile(self, u: np.ndarray) -> np.ndarray:
        """Inverse of the distribution function at `u` in (0, 1), elementwise."""
        raise NotImplementedError


@dataclass(frozen=True)
class Normal(Prior):
    """Normal distribution.

    Parameters
    ----------
    mu : float, default=0.0
        Mean, on the user's scale.
    sigma : float, default=1.0
        Standard deviation, on the user's scale.

    Examples
    --------
    >>> Normal(0, 100)
    Normal(mu=0, sigma=100)
    """

    STORED: ClassVar[tuple[str, ...]] = ("mu", "sigma")

    mu: float = 0.0
    sigma: float = 1.0

    def log_density(self, x: np.ndarray) -> np.ndarray:
        return _normal_log_density((x - self.mu) / self.sigma) - np.log(self.sigma)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return self.mu + self.sigma * ndtri(u)


@dataclass(frozen=True)
class StudentT(Prior):
    """Student's t distribution.

    Parameters
    ----------
    nu : float
        Degrees of freedom.
    mu : float, default=0.0
        Location, on the user's scale.
    sigma : float, default=1.0
        Scale (not the standard deviation), on the user's scale.

    Examples
    --------
    >>> StudentT(nu=3, mu=0, sigma=2.5)
    StudentT(nu=3, mu=0, sigma=2.5)
    """

    STORED: ClassVar[tuple[str, ...]] = ("nu", "mu", "sigma")

    nu: float
    mu: float = 0.0
    sigma: float = 1.0

    def log_density(self, x: np.ndarray) -> np.ndarray:
        return _t_log_density((x - self.mu) / self.sigma, self.nu) - np.log(self.sigma)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return self.mu + self.sigma * stdtrit(self.nu, u)


@dataclass(frozen=True)
class HalfNormal(Prior):
    """Normal(0, sigma) restricted to positive values.

    Parameters
    ----------
    sigma : float, default=1.0
        Scale, in the units of the parameter; the mean is ``0.8 * sigma``.

    Examples
    --------
    >>> HalfNormal(100)
    HalfNormal(sigma=100)
    """

    positive: ClassVar[bool] = True
    STORED: ClassVar[tuple[str, ...]] = ("sigma",)

    sigma: float = 1.0

    def log_density(self, x: np.ndarray) -> np.ndarray:
        return _where_positive(x, _normal_log_density(x / self.sigma) + np.log(2 / self.sigma))

    def cdf(self, x: np.ndarray) -> np.ndarray:
        return erf(np.maximum(x, 0.0) / (self.sigma * np.sqrt(2)))

    def quantile(self, u: np.ndarray) -> np.ndarray:
        # as ndtri((1 + u) / 2), but to full precision at both ends
        return self.sigma * np.sqrt(2) * erfinv(u)


@dataclass(frozen=True)
class HalfStudentT(Prior):
    """Student's t about zero, restricted to positive values.

    Parameters
    ----------
    nu : float
        Degrees of freedom.
    sigma : float, default=1.0
        Scale, in the units of the parameter.

    Examples
    --------
    >>> HalfStudentT(nu=4, sigma=56)
    HalfStudentT(nu=4, sigma=56)
    """

    positive: ClassVar[bool] = True
    STORED: ClassVar[tuple[str, ...]] = ("nu", "sigma")

    nu: float
    sigma: float = 1.0

    def log_density(self, x: np.ndarray) -> np.ndarray:
        return _where_positive(x, _t_log_density(x / self.sigma, self.nu) + np.log(2 / self.sigma))

    def cdf(self, x: np.ndarray) -> np.ndarray:
        square = np.square(np.maximum(x, 0.0) / self.sigma)
        return betainc(0.5, self.nu / 2, square / (self.nu + square))

    def quantile(self, u: np.ndarray) -> np.ndarray:
        # t^2 / (nu + t^2) has the distribution Beta(1/2, nu/2); its complement is inverted separately, so that
        # the ratio of the two keeps full precision at both ends
        share, rest = betaincinv(0.5, self.nu / 2, u), betaincinv(self.nu / 2, 0.5, 1 - np.asarray(u))
        return self.sigma * np.sqrt(self.nu * share / rest)


@dataclass(frozen=True)
class Exponential(Prior):
    """Exponential distribution.

    Parameters
    ----------
    rate : float, default=1.0
        Inverse of the mean, in inverse units of the parameter.

    Examples
    --------
    >>> Exponential(rate=0.1)
    Exponential(rate=0.1)
    """

    positive: ClassVar[bool] = True
    STORED: ClassVar[tuple[str, ...]] = ("rate",)

    rate: float = 1.0

    def log_density(self, x: np.ndarray) -> np.ndarray:
        return _where_positive(x, np.log(self.rate) - self.rate * np.asarray(x))

    def cdf(self, x: np.ndarray) -> np.ndarray:
        return -np.expm1(-self.rate * np.maximum(x, 0.0))

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return -np.log1p(-np.asarray(u)) / self.rate


@dataclass(frozen=True)
class LogNormal(Prior):
    """Distribution of a positive parameter whose logarithm is Normal(mu, sigma).

    Parameters
    ----------
    mu : float, default=0.0
        Mean of the logarithm; the median is ``exp(mu)``.
    sigma : float, default=1.0
        Standard deviation of the logarithm.

    Examples
    --------
    >>> LogNormal(0, 1.5)
    LogNormal(mu=0, sigma=1.5)
    """

    positive: ClassVar[bool] = True
    STORED: ClassVar[tuple[str, ...]] = ("mu", "sigma")
    mu: float = 0.0
    sigma: float = 1.0

    def log_density(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            log_x = np.log(np.maximum(x, 0.0))
            density = _normal_log_density((log_x - self.mu) / self.sigma) - np.log(self.sigma) - log_x
        return np.where(np.asarray(x) > 0, density, -np.inf)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return ndtr((np.log(np.maximum(x, 0.0)) - self.mu) / self.sigma)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return np.exp(self.mu + self.sigma * ndtri(u))


@dataclass(frozen=True)
class Gamma(Prior):
    """Gamma distribution.

    Parameters
    ----------
    alpha : float
        Shape.
    beta : float, default=1.0
        Rate, in inverse units of the parameter; the mean is ``alpha / beta``.

    Examples
    --------
    >>> Gamma(2, 0.1)
    Gamma(alpha=2, beta=0.1)
    """

    positive: ClassVar[bool] = True
    STORED: ClassVar[tuple[str, ...]] = ("alpha", "beta")
    alpha: float
    beta: float = 1.0

    def log_density(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, dtype=float)
        constant = self.alpha * np.log(self.beta) - gammaln(self.alpha)
        return _where_positive(x, constant + xlogy(self.alpha - 1, np.maximum(x, 0.0)) - self.beta * x)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        return gammainc(self.alpha, self.beta * np.maximum(x, 0.0))

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return gammaincinv(self.alpha, u) / self.beta


@dataclass(frozen=True)
class InverseGamma(Prior):
    """Distribution of a positive parameter whose inverse is Gamma(alpha, beta).

    Parameters
    ----------
    alpha : float
        Shape.
    beta : float, default=1.0
        Scale, in the units of the parameter; the mode is ``beta / (alpha + 1)``.

    Examples
    --------
    >>> InverseGamma(0.5, 0.5)
    InverseGamma(alpha=0.5, beta=0.5)
    """

    positive: ClassVar[bool] = True
    STORED: ClassVar[tuple[str, ...]] = ("alpha", "beta")
    alpha: float
    beta: float = 1.0

    def log_density(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, dtype=float)
        inside = np.where(x > 0, x, 1.0)
        constant = self.alpha * np.log(self.beta) - gammaln(self.alpha)
        return np.where(x > 0, constant - (self.alpha + 1) * np.log(inside) - self.beta / inside, -np.inf)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, dtype=float)
        return np.where(x > 0, gammaincc(self.alpha, self.beta / np.where(x > 0, x, 1.0)), 0.0)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return self.beta / gammainccinv(self.alpha, u)


@dataclass(frozen=True)
class Truncated(Prior):
    """A prior of a positive parameter, restricted to values above a bound that the model sets.

    Parameters
    ----------
    prior : Prior
        One that has a `cdf`.
    lower : float
    """

    positive: ClassVar[bool] = True
    STORED: ClassVar[tuple[str, ...]] = ("prior", "lower")
    prior: Prior
    lower: float

    def __post_init__(self) -> None:
        pass  # both values were checked where they were made

    def log_density(self, x: np.ndarray) -> np.ndarray:
        inside = self.prior.log_density(x) - np.log1p(-self.prior.cdf(np.asarray(self.lower)))
        return np.where(np.asarray(x) < self.lower, -np.inf, inside)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        below = self.prior.cdf(np.asarray(self.lower))
        return self.prior.quantile(below + np.asarray(u) * (1 - below))


# those that a user may state
PRIORS: tuple[type[Prior], ...] = (
    Normal,
    StudentT,
    HalfNormal,
    HalfStudentT,
    Exponential,
    LogNormal,
    Gamma,
    InverseGamma,
)


def _normal_log_density(z: np.ndarray) -> np.ndarray:
    """Log density of the standard normal distribution."""
    return -0.5 * np.square(z) - _HALF_LOG_2PI


def _t_log_density(z: np.ndarray, nu: float) -> np.ndarray:
    """Log density of the standard Student t distribution."""
    return _t_constant(nu) - (nu + 1) / 2 * np.log1p(np.square(z) / nu)


@lru_cache(maxsize=16)
def _t_constant(nu: float) -> float:
    """Log density of the standard Student t distribution at 0."""
    return float(gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi))


def _where_positive(x: np.ndarray, log_density: np.ndarray) -> np.ndarray:
    return np.where(np.asarray(x) < 0, -np.inf, log_density)
