"""Ordered classes, each between two thresholds of a latent response."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from bayesmixed.distributions import LogNormal, Prior
from bayesmixed.families.base import Array, ClassFamily, Link, Response
from bayesmixed.families.links import END, SymmetricLink, link_of_mean


class Cumulative(ClassFamily):
    """One of K ordered classes: ``P(y <= k) = F(c_k - eta)``, F being the inverse link, with increasing thresholds c.

    The middle threshold is minus the intercept, which the linear predictor of every method includes; the auxiliary
    parameters are the gaps between neighbouring thresholds, one for each class with a threshold on either side. With
    m = (K - 1) // 2

        c_k = rel_k - Intercept,  rel_m = 0,  rel_k - rel_(k-1) = gap_k,    k = 0, ..., K - 2.

    The thresholds are thus integrated out with the common effects, except for their distances, which move slowly; the
    middle one is the best determined, whatever the shares. The posterior reports them as ``thresholds``.
    """

    name = "cumulative"
    links = ("logit", "probit")
    ordered = separable = True
    link: SymmetricLink

    def __init__(self, link: Link, classes: tuple[Any, ...] = ()) -> None:
        super().__init__(link, classes)
        self.auxiliary = tuple(f"gaps[{between}]" for between in classes[1:-1])
        self._middle = (len(classes) - 1) // 2
        self.threshold = self._names[self._middle] if classes else ""

    @property
    def mean_shape(self) -> tuple[int, ...]:
        return (len(self.classes),)

    @property
    def _names(self) -> list[str]:
        return [f"{below}|{above}" for below, above in zip(self.classes[:-1], self.classes[1:], strict=True)]

    @property
    def coordinates(self) -> dict[str, list[str]]:
        return {"threshold": self._names}

    def variables(self, has_intercept: bool) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
        return {"thresholds": ("threshold",)}, {}

    def reported(self, values: Mapping[str, Any], stack: Callable[..., Any] = np.stack) -> dict[str, Any]:
        inside = ("Intercept", *self.auxiliary)
        relative = self._relative([values[name] for name in self.auxiliary], 0.0 * values["Intercept"])
        thresholds = stack([own - values["Intercept"] for own in relative], axis=-1)
        return {name: own for name, own in values.items() if name not in inside} | {"thresholds": thresholds}

    def sampled(self, values: Mapping[str, Array]) -> dict[str, Array]:
        thresholds = values["thresholds"]
        gaps = np.diff(thresholds, axis=-1)
        found = {name: own for name, own in values.items() if name != "thresholds"}
        found |= {name: gaps[..., at] for at, name in enumerate(self.auxiliary)}
        return found | {"Intercept": 0.0 - thresholds[..., self._middle]}

    def _relative(self, gaps: Sequence[Any], zero: Any) -> list[Any]:
        """rel_0, ..., rel_(K-2), from gaps and a zero of their shape: arrays or tensors."""
        found = [zero]
        for gap in reversed(gaps[: self._middle]):
            found.insert(0, found[0] - gap)
        for gap in gaps[self._middle :]:
            found.append(found[-1] + gap)
        return found

    def location_and_scale(self, response: Response) -> tuple[float, float]:
        """Location and scale, from the middle threshold at the classes' observed shares."""
        above = 1 - self._shares(response)[self._middle]
        return link_of_mean(self.link, above, response), self.link.scale

    def auxiliary_priors(self, scale: float, response: Response) -> dict[str, Prior]:
        """Priors about the gaps at the classes' observed shares."""
        gaps = np.diff(self.link.link(self._shares(response)))
        return {name: LogNormal(float(np.log(gap)), 1.0) for name, gap in zip(self.auxiliary, gaps, strict=True)}

    def _shares(self, response: Response) -> Array:
        """Shares up to each threshold, (K - 1,), with half a row added to every class, so that none is empty."""
        K = len(self.classes)
        counts = np.bincount(response.y.astype(int), response.weights, K) + 0.5
        return np.cumsum(counts)[:-1] / counts.sum()

    def _thresholds(self, auxiliary: Mapping[str, Array]) -> tuple[Array, Array]:
        """Ends of the classes relative to the middle threshold, (K + 1, ...), and their widths, (K, ...)."""
        gaps = [np.asarray(auxiliary[name], dtype=float) for name in self.auxiliary]
        zero = np.zeros_like(gaps[0]) if gaps else np.zeros(())
        ends = np.stack([zero - END, *self._relative(gaps, zero), zero + END])
        return ends, np.stack([zero + END, *gaps, zero + END])

    def _interval(self, y: Array, eta: Array, auxiliary: Mapping[str, Array]) -> tuple[Array, Array, Array]:
        """Ends of each row's class less its linear predictor, and the class's width."""
        ends, widths = self._thresholds(auxiliary)
        at = np.asarray(y).astype(int)
        return _of_class(ends, at) - eta, _of_class(ends, at + 1) - eta, _of_class(widths, at)

    def log_density(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        return self.link.log_between(*self._interval(y, eta, auxiliary))

    def derivatives(self, y: Array, eta: Array, **auxiliary: Array) -> tuple[Array, Array, dict[str, Array]]:
        log_p, by_lower, by_upper, score = self.link.between_slopes(*self._interval(y, eta, auxiliary))
        return log_p, score, self._by_gaps(y, by_lower, by_upper, -score)

    def weight(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        by_lower, by_upper = self.link.between_curvatures(*self._interval(y, eta, auxiliary))
        return np.maximum(by_lower + by_upper, 0.0)

    def score_by_auxiliary(self, y: Array, eta: Array, **auxiliary: Array) -> dict[str, Array]:
        """The score is linear in the thresholds, roughly."""
        by_lower, by_upper = self.link.between_curvatures(*self._interval(y, eta, auxiliary))
        return self._by_gaps(y, by_lower, by_upper, by_lower + by_upper)

    def _by_gaps(self, y: Array, by_lower: Array, by_upper: Array, by_both: Array) -> dict[str, Array]:
        """Derivatives with respect to the gaps, from those with respect to the ends of each row's class, and to both.

        A gap above the middle moves both ends of the classes above it; one below, those of the classes below it.
        """
        found = {}
        for j, name in enumerate(self.auxiliary, start=1):
            if j > self._middle:
                found[name] = np.where(y == j, by_upper, np.where(y > j, by_both, 0.0))
            else:
                found[name] = np.where(y == j, -by_lower, np.where(y < j, -by_both, 0.0))
        return found

    def cdf(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        ends, _ = self._thresholds(auxiliary)
        at = np.clip(np.floor(y), -1, len(self.classes) - 1).astype(int)
        return self.link.inverse(_of_class(ends, at + 1) - eta)

    def quantile(self, u: Array, eta: Array, **auxiliary: Array) -> Array:
        ends, _ = self._thresholds(auxiliary)
        found = sum((u > self.link.inverse(end - eta)).astype(float) for end in ends[1:-1])
        return np.where(np.isnan(eta), np.nan, found)

    def mean(self, eta: Array, **auxiliary: Array) -> Array:
        """Mean of each class's indicator: its probability."""
        return self.class_probabilities(eta, **auxiliary)

    def marginal_mean(self, m: Array, v: Array, **auxiliary: Array) -> Array:
        return self.marginal_class_probabilities(m, v, **auxiliary)

    def variance(self, eta: Array, **auxiliary: Array) -> NoReturn:
        raise ValueError("ordered classes have no distances between them, so the response has no variance.")

    def latent_variance(self, mu: Array, **auxiliary: Array) -> Array:
        return np.full_like(mu, self.link.latent_variance)

    def class_probabilities(self, eta: Array, **auxiliary: Array) -> Array:
        link, first, last, inner = self.link, *self._inner(auxiliary)
        between = [link.between(low - eta, high - eta, width) for low, high, width in inner]
        return np.array([link.inverse(first - eta), *between, link.inverse(eta - last)])

    def marginal_class_probabilities(self, m: Array, v: Array, **auxiliary: Array) -> Array:
        link, first, last, inner = self.link, *self._inner(auxiliary)
        between = [link.marginal_between(low - m, high - m, width, v) for low, high, width in inner]
        return np.array([link.marginal(first - m, v), *between, link.marginal(m - last, v)])

    def _inner(self, auxiliary: Mapping[str, Array]) -> tuple[Array, Array, list[tuple[Array, Array, Array]]]:
        """The first threshold and the last; ends and width of the classes between."""
        ends, widths = self._thresholds(auxiliary)
        return ends[1], ends[-2], list(zip(ends[1:-2], ends[2:-1], widths[1:-1], strict=True))

    def pymc(self, pm: Any, eta: Any, auxiliary: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return OrderedClasses(pm, self), {"eta": eta, "gaps": [auxiliary[name] for name in self.auxiliary]}


@dataclass(frozen=True)
class OrderedClasses:
    """The classes' distribution given the linear predictor and the gaps, called like a distribution class of PyMC.

    PyMC's own takes differences of probabilities, which vanish in the tails.
    """

    pm: Any
    family: Cumulative

    def __call__(self, name: str, eta: Any, gaps: Sequence[Any], **options: Any) -> Any:
        return self.pm.CustomDist(name, eta, *gaps, **self._functions, **options)

    def dist(self, eta: Any, gaps: Sequence[Any], **options: Any) -> Any:
        return self.pm.CustomDist.dist(eta, *gaps, **self._functions, **options)

    @property
    def _functions(self) -> dict[str, Any]:
        return {"dist": self._drawn, "logp": self._log_density}

    def _drawn(self, eta: Any, *parameters: Any) -> Any:
        *gaps, size = parameters
        ends, widths = self._thresholds(gaps)
        K = len(self.family.classes)
        each = [
            self.family.link.pymc_log_between(self.pm, ends[k] - eta, ends[k + 1] - eta, widths[k]) for k in range(K)
        ]
        return self.pm.Categorical.dist(p=self.pm.math.exp(self.pm.math.stack(each, axis=-1)), size=size)

    def _log_density(self, y: Any, eta: Any, *gaps: Any) -> Any:
        ends, widths = self._thresholds(gaps)

        def of_class(each: list[Any]) -> Any:
            # not an index: PyTensor would build a vector from as many scalars as there are rows
            found = each[0]
            for k, value in enumerate(each[1:], start=1):
                found = self.pm.math.switch(self.pm.math.eq(y, k), value, found)
            return found

        lower, upper, width = of_class(ends[:-1]), of_class(ends[1:]), of_class(widths)
        return self.family.link.pymc_log_between(self.pm, lower - eta, upper - eta, width)

    def _thresholds(self, gaps: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """As `Cumulative._thresholds`, in lists."""
        end = np.float64(END)
        return [-end, *self.family._relative(list(gaps), np.float64(0.0)), end], [end, *gaps, end]


def _of_class(table: Array, at: Array) -> Array:
    """Entries (k, ...) or (k, S) of each row's class, whose positions are (n, 1) or have the draws' shape."""
    if table.ndim == 1:
        return table[at]
    if at.shape[-1] == 1:
        return table[at[..., 0]]
    return np.take_along_axis(table, np.atleast_2d(at), axis=0).reshape(at.shape)
