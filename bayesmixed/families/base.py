"""Base classes of families and links: what the response may be, and how it scatters about its linear predictor.

Other rooms ask the family what they need to know about a distribution; none reads a family's name. Shapes: `eta` is
(n, S), a row's draws side by side; the response and other values per row broadcast as (n, 1), the auxiliary parameters
as (S,).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bayesmixed.distributions import Prior

Array = np.ndarray
RARE = 1e-8  # a mean count below which the variance of its logarithm is practically infinite


class Link(ABC):
    """How the mean of the response relates to the linear predictor.

    Attributes
    ----------
    name : str
    bounded : bool
        Whether the mean is bounded.
    scale : float
        Roughly what a coefficient of one on the logit scale is on this one: the scale of default priors.
    """

    STORED: ClassVar[tuple[str, ...]] = ()

    name: ClassVar[str]
    bounded: ClassVar[bool] = False
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


class ProbabilityLink(Link):
    """A link whose inverse is a distribution function: a mean in (0, 1).

    Attributes
    ----------
    latent_variance : float
        Variance of that distribution: of the latent response that a threshold at zero turns into success or failure.
    """

    bounded = True
    latent_variance: ClassVar[float]

    @abstractmethod
    def complement(self, eta: Array) -> Array:
        """One minus `inverse`, to full precision where `inverse` is near one."""

    @abstractmethod
    def marginal_complement(self, m: Array, v: Array) -> Array:
        """Mean of `complement` over eta ~ N(m, v), elementwise."""

    @abstractmethod
    def log_inverse(self, eta: Array) -> Array:
        """Log of `inverse`, to full precision in both tails."""

    @abstractmethod
    def log_complement(self, eta: Array) -> Array:
        """Log of one minus `inverse`, to full precision in both tails."""

    @abstractmethod
    def log_slopes(self, eta: Array) -> tuple[Array, Array]:
        """Derivatives of `log_inverse` (positive) and of `log_complement` (negative)."""

    def logs(self, eta: Array) -> tuple[Array, Array, Array, Array]:
        """`log_inverse`, `log_complement` and both of `log_slopes` at once, where speed matters."""
        return self.log_inverse(eta), self.log_complement(eta), *self.log_slopes(eta)

    @abstractmethod
    def log_curvatures(self, eta: Array) -> tuple[Array, Array]:
        """Negated second derivatives of `log_inverse` and `log_complement`; neither is negative."""

    @abstractmethod
    def slope(self, mu: Array) -> Array:
        """Derivative of `inverse` where its value is `mu`."""

    @abstractmethod
    def pymc_logs(self, pm: Any, eta: Any) -> tuple[Any, Any]:
        """`log_inverse` and `log_complement` of a tensor, with finite gradients; `pm` is the module PyMC."""

    def pymc(self, pm: Any, eta: Any) -> Any:
        return pm.math.exp(self.pymc_logs(pm, eta)[0])


@dataclass(frozen=True)
class Response:
    """What a family is told about the rows of a fit in order to state default priors.

    Attributes
    ----------
    y : numpy.ndarray of shape (n,)
    offset, weights, trials : numpy.ndarray of shape (n,), or None
    centred : bool
        Whether the model has an intercept.
    location, scale : float
        Weighted mean and standard deviation of `Family.working(y)` minus the offset; 0 and root mean square in a
        model without an intercept.
    """

    y: Array
    offset: Array | None
    weights: Array | None
    trials: Array | None
    centred: bool
    location: float
    scale: float


class Family(ABC):
    """The distribution of the response given its linear predictor; a subclass is final and has a file of its own.

    Parameters
    ----------
    link : Link

    Attributes
    ----------
    name : str
    links : tuple of str
        Names of the links that may be used, the usual one first.
    auxiliary : tuple of str
        Names of the auxiliary parameters; all are positive. ``gaps[medium]`` is an entry of a vector ``gaps``.
    threshold : str
        Name of the threshold whose negative is the intercept, in a model with thresholds and no separate intercept;
        empty otherwise.
    linear : bool
        Whether the mean of the response is the linear predictor itself, and its variance does not depend on it.
    collapses : bool
        Whether `working(y)` is normal about the linear predictor with standard deviation ``sigma``, so that the
        effects can be integrated out.
    residual : bool
        Whether a response that the effects explain without residual leaves nothing to estimate its scale from.
    discrete : bool
        Whether the response is a whole number.
    counts_trials : bool
        Whether each row has a number of trials; every method then takes ``trials`` as an auxiliary parameter.
    classes : tuple of str, bool, int or float
        Labels of the classes, in order; y holds positions among them. Empty where y holds numbers.
    separable : bool
        Whether common columns can separate success from failure, so that the likelihood has no maximum.
    summable : bool
        Whether rows that differ only in the response and the trials may be summed: `derivatives` and `weight` are
        linear in these, whole numbers or not, so that k such rows equal k rows of their mean.
    """

    STORED: ClassVar[tuple[str, ...]] = ("link",)

    name: ClassVar[str]
    links: ClassVar[tuple[str, ...]]
    auxiliary: tuple[str, ...] = ()
    threshold: str = ""
    linear: ClassVar[bool] = False
    collapses: ClassVar[bool] = False
    residual: ClassVar[bool] = False
    discrete: ClassVar[bool] = False
    counts_trials: ClassVar[bool] = False
    separable: ClassVar[bool] = False
    classes: tuple[Any, ...] = ()
    summable: ClassVar[bool] = False

    def __init__(self, link: Link) -> None:
        self.link = link

    @property
    def mean_shape(self) -> tuple[int, ...]:
        """Shape of `mean` at one linear predictor: () for a single number, (K,) for one per class."""
        return ()

    @property
    def scale_name(self) -> str:
        """The scale that the linear predictor is on."""
        return self.link.name

    def check(self, y: Array, trials: Array | None = None) -> None:  # noqa: B027 - any number is in the real line
        """Reject a response outside the support, which is the real line unless a family says otherwise.

        Parameters
        ----------
        y : numpy.ndarray of shape (n,)
        trials : numpy.ndarray of shape (n,), optional
            For a family that `counts_trials`.

        Raises
        ------
        ValueError
            Naming the first invalid row and the cure.
        """

    def check_fit(self, y: Array, trials: Array | None = None) -> None:
        """Reject what `check` rejects, and a constant response of a continuous family: there is nothing to explain.

        Raises
        ------
        ValueError
        """
        self.check(y, trials)
        if not self.discrete and np.ptp(y) == 0:
            raise ValueError(f"y is constant ({y[0]} in all {len(y)} rows): there is nothing to explain.")

    def check_trials(self, trials: Array | None) -> None:
        """Reject invalid numbers of trials."""
        if trials is not None:
            wrong = (trials < 1) | (trials != np.floor(trials))
            refuse(self, trials, wrong, "a whole number of trials, at least 1, in each row", of="the trials")

    def working(self, y: Array) -> Array:
        """The response on the real line: on the scale of the linear predictor, where there is one."""
        return y

    def from_working(self, x: Array) -> Array:
        """Inverse of `working`, which increases."""
        return x

    def log_jacobian(self, y: Array) -> Array:
        """Log of the slope of `working`, elementwise: it turns a density of the working response into one of y."""
        return np.zeros_like(y)

    def location_and_scale(self, response: Response) -> tuple[float, float]:
        """Location and scale of the linear predictor, by which default priors are scaled."""
        return response.location, response.scale

    @abstractmethod
    def auxiliary_priors(self, scale: float, response: Response) -> dict[str, Prior]:
        """Default priors of the auxiliary parameters; `scale` is that of `location_and_scale`."""

    def variables(self, has_intercept: bool) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
        """The posterior's variables other than common and group effects, with their dims: those before, those after."""
        return {"Intercept": ()} if has_intercept else {}, dict.fromkeys(self.auxiliary, ())

    @property
    def coordinates(self) -> dict[str, list[str]]:
        """Values of the dims of `variables`."""
        return {}

    def reported(self, values: Mapping[str, Any], stack: Callable[..., Any] = np.stack) -> dict[str, Any]:
        """The posterior's `variables`, (..., k), from ``Intercept`` and the auxiliary parameters, each (...).

        `stack` joins a list of arrays along a new axis: NumPy's, or PyMC's for tensors.
        """
        return dict(values)

    def sampled(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Inverse of `reported`."""
        return dict(values)

    def floors(self, scale: float) -> dict[str, float]:
        """Lower bounds of the auxiliary parameters, where these are not zero."""
        return {}

    @abstractmethod
    def log_density(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        """Log density, or log probability, elementwise."""

    @abstractmethod
    def derivatives(self, y: Array, eta: Array, **auxiliary: Array) -> tuple[Array, Array, dict[str, Array]]:
        """Log density and its derivatives, elementwise.

        Returns
        -------
        log_density : numpy.ndarray of shape (n, S)
            Up to a term that depends only on y and the trials.
        score : numpy.ndarray of shape (n, S)
            Its derivative with respect to eta.
        by_auxiliary : dict of str to numpy.ndarray of shape (n, S)
            Its derivative with respect to each of `auxiliary`.
        """

    @abstractmethod
    def weight(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        """Negated curvature of the log density in eta, or a substitute for it; elementwise, never negative.

        Where the observed curvature changes sign, this is the expected one, or the weight of iteratively reweighted
        least squares.
        """

    def score_by_auxiliary(self, y: Array, eta: Array, **auxiliary: Array) -> dict[str, Array]:
        """Derivatives of the score with respect to the auxiliary parameters in which it is nearly linear, elementwise.

        A sampler uses them to carry a quadratic approximation of the rows from one value of such a parameter to others.
        """
        return {}

    def concentration(self, **auxiliary: Array) -> Array | float:
        """Function of the auxiliary parameters to which `weight` is roughly proportional; shape (S,), or 1."""
        return 1.0

    @abstractmethod
    def cdf(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        """Distribution function, elementwise."""

    @abstractmethod
    def quantile(self, u: Array, eta: Array, **auxiliary: Array) -> Array:
        """Inverse of the distribution function at u in (0, 1), elementwise; at uniform random u, a random response."""

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
        """Variance of the response on the scale of the linear predictor, at a mean of `mu`, elementwise."""

    def widened(self, variance: Array, **auxiliary: Array) -> dict[str, Array]:
        """Auxiliary parameters of the response when its linear predictor is itself normal, with that variance.

        Only a family that `collapses` has them: elsewhere such a response leaves the family.
        """
        raise NotImplementedError(f"family {self.name!r} needs draws of a normal linear predictor.")

    @abstractmethod
    def pymc(self, pm: Any, eta: Any, auxiliary: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """PyMC's distribution of the response and its parameters.

        Parameters
        ----------
        pm : module
            PyMC, which a family does not import.
        eta : tensor of shape (n,)
        auxiliary : dict of str to tensor
        """


class PositiveFamily(Family):
    """A family of positive responses, whose logarithm may be any number."""

    def working(self, y: Array) -> Array:
        return np.log(y)

    def from_working(self, x: Array) -> Array:
        return np.exp(x)

    def log_jacobian(self, y: Array) -> Array:
        return -np.log(y)


class ClassFamily(Family):
    """A family whose response is one of K classes: y holds positions among them, 0 to K - 1.

    Parameters
    ----------
    link : Link
    classes : tuple of str, bool, int or float
        The labels, in order; empty while they are not known yet.

    Attributes
    ----------
    ordered : bool
        Whether the order of the classes is meaningful, so that there may be more than two.
    """

    STORED = ("link", "classes")
    discrete = True
    ordered: ClassVar[bool] = False

    def __init__(self, link: Link, classes: tuple[Any, ...] = ()) -> None:
        super().__init__(link)
        self.classes = classes

    @abstractmethod
    def class_probabilities(self, eta: Array, **auxiliary: Array) -> Array:
        """Probability of each class, (K, n, S)."""

    @abstractmethod
    def marginal_class_probabilities(self, m: Array, v: Array, **auxiliary: Array) -> Array:
        """Probability of each class over eta ~ N(m, v), (K, n, S)."""


def refuse(family: Family, values: Array, wrong: Array, expected: str, *, cure: str = "", of: str = "y") -> None:
    """Raise an error that names the first invalid row, if there is one.

    Parameters
    ----------
    family : Family
    values : numpy.ndarray of shape (n,)
    wrong : numpy.ndarray of bool, shape (n,)
    expected, cure, of : str
        What was expected, what to do, and the name of the values.

    Raises
    ------
    ValueError
    """
    if (rows := np.flatnonzero(wrong)).size:
        cure = f"; {cure}" if cure else ""
        more = f" ({len(rows):,} rows in all)" if len(rows) > 1 else ""
        raise ValueError(
            f"family={family.name!r} needs {expected}; row {rows[0]} of {of} is {values[rows[0]]:g}{more}{cure}."
        )


def counts(family: Family, y: Array) -> None:
    """Reject values that are not counts.

    Raises
    ------
    ValueError
    """
    refuse(family, y, (y < 0) | (y != np.floor(y)), "non-negative integers")


def log_rate(response: Response, more: float = 0.0) -> float:
    """Log of the response's sum, plus `more`, over the sum of exp(offset): the log of counts per exposure."""
    w = np.ones_like(response.y) if response.weights is None else response.weights
    exposure = np.zeros_like(response.y) if response.offset is None else response.offset
    largest = exposure.max()  # its exponential could overflow
    return float(np.log(w @ response.y + more) - np.log(w @ np.exp(exposure - largest)) - largest)
