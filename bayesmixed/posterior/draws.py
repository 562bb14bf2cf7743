"""Posterior draws, from any sampler, and the naming contract they follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from bayesmixed.chunks import allowed, chunks
from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.design.summed.summed import Named
from bayesmixed.families.base import Family
from bayesmixed.posterior.values import Values

if TYPE_CHECKING:
    from bayesmixed.design.factors import GroupFactor, GroupSpec

CONTRACT_VERSION = "1"


class EffectSource(Protocol):
    """Draws group effects that are not stored."""

    @property
    def mean(self) -> np.ndarray:
        """Exact posterior means of all levels, (n_levels, q), computed when first asked for."""

    def means(self, levels: np.ndarray) -> np.ndarray:
        """The same for some distinct levels, (k, q), without computing the others."""

    def draw(self, levels: np.ndarray) -> np.ndarray:
        """Effects of some levels, (chain * draw, k, q); a level's do not depend on which others are drawn with it."""

    def draw_each(self, levels: np.ndarray) -> np.ndarray:
        """Effects of one level per draw, (chain * draw,), equal to those from `draw`; shape (chain * draw, q)."""


class CoefficientMoments(Protocol):
    """Exact moments of the coefficients, which are normal given the covariances and the noise of a draw."""

    def linear_predictor(self, design: Design, rows: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the linear predictor over each part of the draws.

        Parameters
        ----------
        design : Design
            Effects of new levels are 0.
        rows : numpy.ndarray of int, shape (n,)
        label : numpy.ndarray of int, shape (S,)
            The part of every draw, 0 to K - 1.

        Returns
        -------
        mean, variance : numpy.ndarray of shape (n, K)
        """


class FitState(Protocol):
    """What an engine leaves behind.

    It makes it possible to learn from new rows, to leave fitted rows out, and to know linear predictors by their
    moments instead of by draws. A class whose values can be saved declares what is stored in a tuple ``STORED`` of its
    parameters' names, and has a kind in `bayesmixed.estimators.archive`.
    """

    @property
    def coefficients(self) -> CoefficientMoments | None:
        """Moments given the covariances; None if they are unknown or expensive."""

    def update(self, draws: Draws, spec: DesignSpec, design: Design, *, seed: int, progressbar: bool) -> Draws:
        """Draw from the posterior of old and new rows.

        Parameters
        ----------
        draws : Draws
            Those of the old rows, to which the state belongs.
        spec : DesignSpec
            With the levels of old and new rows.
        design : Design
            The new rows, their factors coded by `spec`.
        seed : int
            Of the fit.
        progressbar : bool
            For a new run of the sampler.

        Raises
        ------
        SamplerError
            The model has become too large, or the new chains cannot be trusted.
        """

    def leave_one_out(self, draws: Draws, design: Design, keep: np.ndarray) -> np.ndarray:
        """Log density of each fitted row given all others, effects integrated out, at some draws.

        Parameters
        ----------
        draws : Draws
        design : Design
            The fitted rows.
        keep : numpy.ndarray of int, shape (s,)
            Positions among all draws, numbered across the chains.

        Returns
        -------
        numpy.ndarray of shape (s, n)
        """

    def refit_without(
        self, draws: Draws, design: Design, row: int, *, seed: int, progressbar: bool
    ) -> tuple[float, float] | None:
        """Log density of one fitted row given all others, from a fit to the others, and its standard error.

        None if the engine does not offer it.

        Parameters
        ----------
        draws, design
            As in `leave_one_out`.
        row : int
            Its position.
        seed, progressbar
            As in `update`.

        Raises
        ------
        SamplerError
            The new chains cannot be trusted.
        """


@dataclass(frozen=True)
class Draws:
    """Draws from the posterior of one model.

    Attributes
    ----------
    values : mapping of str to numpy.ndarray of shape (chain, draw, ...)
        By variable of the naming contract, on the user's scale.
    sample_stats : dict of str to numpy.ndarray of shape (chain, draw)
        Named as ArviZ names them: ``lp``, ``acceptance_rate``, ``diverging``, ...
    diagnostics : dict of str to object
        Plain values: which sampler and why, convergence, seconds per step.
    means : mapping of str to numpy.ndarray
        Exact posterior means, without the Monte Carlo noise of the conditional draws, where the sampler knows them.
    state : FitState, optional
        What the engine keeps besides the draws; None if it keeps nothing.
    lazy : dict of str to EffectSource
        By factor: effects that are too many to store and are drawn when asked for.
    exact : frozenset of str
        Variables drawn from their exact distribution given the others: they have no chain of their own to diagnose, and
        may wait to be drawn.
    """

    STORED: ClassVar[tuple[str, ...]] = ("values", "sample_stats", "diagnostics", "means", "state", "lazy")

    values: dict[str, np.ndarray] | Values
    sample_stats: dict[str, np.ndarray]
    diagnostics: dict[str, Any]
    means: dict[str, np.ndarray] | Values = field(default_factory=dict)
    state: FitState | None = None
    lazy: Mapping[str, EffectSource] = field(default_factory=dict)
    exact: frozenset[str] = frozenset()

    @property
    def shape(self) -> tuple[int, int]:
        """Number of chains, draws per chain."""
        chains, draws = next(self.diagnosed())[1].shape[:2]
        return chains, draws

    @property
    def size(self) -> int:
        """Number of draws of all chains."""
        chains, draws = self.shape
        return chains * draws

    def diagnosed(self) -> Iterator[tuple[str, np.ndarray]]:
        """Variables that have a chain of their own, by name."""
        return ((name, self.values[name]) for name in self.values if name not in self.exact)

    def flat(self, name: str) -> np.ndarray:
        """A variable with chains one after the other, shape (chain * draw, ...)."""
        values = self.values[name]
        return values.reshape(-1, *values.shape[2:])

    def mean(self, name: str) -> np.ndarray:
        """Posterior mean of a variable: exact if the sampler knows it, otherwise that of the draws."""
        if name in self.means:
            return self.means[name]
        factor = name.removeprefix("b_")
        return self.lazy[factor].mean if factor in self.lazy else self.flat(name).mean(axis=0)

    def effect_means(self, factor: str, levels: np.ndarray) -> np.ndarray:
        """Posterior means of the effects of some distinct levels, as from `mean`; (k, q).

        Effects that are not stored have no table of means either: only the requested ones are computed.
        """
        name = f"b_{factor}"
        if name in self.means:
            return self.means[name][levels]
        return self.lazy[factor].means(levels) if factor in self.lazy else self.flat(name)[:, levels].mean(axis=0)

    def effects_each(self, factor: str, levels: np.ndarray) -> np.ndarray:
        """Effects of one level per draw, (chain * draw,), equal to those from `effects`; shape (chain * draw, q)."""
        if factor in self.lazy:
            return self.lazy[factor].draw_each(levels)
        return self.flat(f"b_{factor}")[np.arange(len(levels)), levels]

    def all_effects(self, factor: GroupFactor | GroupSpec) -> Iterator[tuple[slice, np.ndarray]]:
        """Group effects of all fitted levels, a few levels at a time: positions, and their `effects`."""
        width = self.size * len(factor.effect_names)
        for levels in chunks(len(factor.levels), width, allowed().working):
            yield levels, self.effects(factor.name, np.arange(levels.start, levels.stop))

    def effects(self, factor: str, levels: np.ndarray) -> np.ndarray:
        """Group effects of some levels, stored or drawn now; the same numbers at every call.

        Parameters
        ----------
        factor : str
        levels : numpy.ndarray of int, shape (k,)
            Positions of the levels.

        Returns
        -------
        numpy.ndarray of shape (chain * draw, k, q)
        """
        return self.lazy[factor].draw(levels) if factor in self.lazy else self.flat(f"b_{factor}")[:, levels]


def layout(design: Named, family: Family) -> dict[str, tuple[str, ...]]:
    """Variables of the naming contract, version 1, in order, with their dims beyond (chain, draw).

    Examples
    --------
    >>> from bayesmixed.datasets import load_sleepstudy
    >>> from bayesmixed.families import get_family
    >>> from bayesmixed.formula.parse import parse
    >>> spec, _ = DesignSpec.learn(parse("Days + (1 | Subject)"), load_sleepstudy())
    >>> layout(spec, get_family("gaussian"))["b_Subject"]
    ('Subject', 'Subject_effect')
    """
    names = [factor.name for factor in design.groups]
    first, last = family.variables(design.has_intercept)
    variables = dict(first)
    if design.common_names:
        variables["beta"] = ("common_effect",)
    # b_ introduces <factor> and <factor>_effect in this order before sd_ introduces only the latter: ArviZ 1.3 stacks
    # dims as they appear but labels them variable by variable, and would print the wrong numbers in its summary
    variables |= {f"b_{name}": (name, f"{name}_effect") for name in names}
    variables |= {f"sd_{name}": (f"{name}_effect",) for name in names}
    variables |= {f"corr_{factor.name}": (f"{factor.name}_pair",) for factor in design.groups if factor.pairs}
    return variables | last


def coordinates(design: Named, family: Family) -> dict[str, np.ndarray]:
    """Coordinate values of the dims in `layout`."""
    coords: dict[str, Any] = dict(family.coordinates)
    if design.common_names:
        coords["common_effect"] = list(design.common_names)
    for factor in design.groups:
        coords[factor.name] = factor.levels
        coords[f"{factor.name}_effect"] = list(factor.effect_names)
        if factor.pairs:
            coords[f"{factor.name}_pair"] = list(factor.pair_names)
    return {name: np.asarray(values) for name, values in coords.items()}


def sampled(draws: Draws, family: Family, has_intercept: bool) -> dict[str, np.ndarray]:
    """Intercept and auxiliary parameters of every draw, each (chain * draw,), as the family's methods expect them."""
    first, last = family.variables(has_intercept)
    return family.sampled({name: draws.flat(name) for name in (*first, *last)})


def covariance_factor(draws: Draws, factor: GroupFactor | GroupSpec) -> np.ndarray:
    """Lower factor L of the group covariance of each draw, Sigma = L L', shape (chain * draw, q, q).

    The Cholesky recursion with pivots kept at or above zero: a draw on the boundary (correlation 1,
    sd 0) is a valid covariance.
    """
    sd = draws.flat(f"sd_{factor.name}")
    R = np.broadcast_to(np.eye(sd.shape[1]), (len(sd), sd.shape[1], sd.shape[1])).copy()
    for k, (i, j) in enumerate(factor.pairs):
        R[:, i, j] = R[:, j, i] = draws.flat(f"corr_{factor.name}")[:, k]
    L = np.zeros_like(R)
    for j in range(sd.shape[1]):
        pivot = np.sqrt(np.maximum(R[:, j, j] - np.sum(np.square(L[:, j, :j]), axis=1), 0.0))
        rest = R[:, j + 1 :, j] - np.einsum("sik,sk->si", L[:, j + 1 :, :j], L[:, j, :j])
        L[:, j, j] = pivot
        L[:, j + 1 :, j] = np.divide(rest, pivot[:, None], out=np.zeros_like(rest), where=pivot[:, None] > 0)
    return sd[:, :, None] * L
