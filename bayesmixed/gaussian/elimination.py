"""The protocol of an elimination, the choice of one for a model, and the limits on its size.

An elimination integrates all group effects out. The first factor is always one whose groups are independent given
everything else (`first_factor`); implementations differ in how the others follow.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from bayesmixed.chunks import allowed
from bayesmixed.design.statistics import CrossProducts
from bayesmixed.errors import quoted
from bayesmixed.gaussian.crossed import Crossed
from bayesmixed.gaussian.first_factor import FirstFactor
from bayesmixed.gaussian.nested import Nested, nesting_order
from bayesmixed.gaussian.units import WorkingRows


class Factorised(Protocol):
    """All group effects integrated out at N points, keeping what is needed to draw them back and leave rows out."""

    @property
    def G(self) -> np.ndarray:  # noqa: N802 - its name in the equations
        """V' V_lambda^-1 V, shape (P, P, N)."""

    def draw(
        self, gamma: np.ndarray, sigma: np.ndarray, normals: list[np.ndarray], which: np.ndarray
    ) -> list[np.ndarray]:
        """Effects of all factors except the first, given the common ones.

        Parameters
        ----------
        gamma : numpy.ndarray of shape (P - 1, S)
        sigma : numpy.ndarray of shape (S,)
        normals : list of numpy.ndarray of shape (q, J, S)
            Per factor, in the order of ``first.columns``; zeros give the conditional means.
        which : numpy.ndarray of int, shape (S,)
            The point that each draw belongs to.

        Returns
        -------
        list of numpy.ndarray of shape (q, J, S)
            Per factor, working units.
        """

    def without(self, rows: WorkingRows) -> tuple[np.ndarray, np.ndarray]:
        """Eliminate the effects from some of the rows that made the statistics.

        Returns
        -------
        left : numpy.ndarray of shape (P, n, N)
            What is left of V.
        variance : numpy.ndarray of shape (n, N)
            Of the effects' part of the linear predictor, given the common effects and divided by sigma^2.
        """


class Elimination(Protocol):
    """Integrates the group effects out; depends only on the statistics of the rows, not on priors.

    `roots` are those of the relative covariances of all factors in the model's order, Sigma_f / sigma^2 = root root',
    each (q, q, N) at N points.
    """

    @property
    def first(self) -> FirstFactor:
        """The first factor, the order of all, and the columns of the others."""

    @property
    def size(self) -> int:
        """Size of the working arrays of one point."""

    @property
    def flops(self) -> float:
        """Approximate floating point operations of one point."""

    @property
    def largest(self) -> int:
        """Columns of the largest matrix that is factorised as a whole."""

    @property
    def row_size(self) -> int:
        """Size of the arrays for a row at one point in `Factorised.without`, apart from V."""

    def reduce(self, roots: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """G = V' V_lambda^-1 V, (P, P, N), and D = log det V_lambda, (N,)."""

    def factorise(self, roots: list[np.ndarray]) -> Factorised:
        """The same, keeping what is needed to draw effects and leave rows out; for the points of one chunk."""


def choose(statistics: CrossProducts) -> Elimination:
    """The elimination for a model's factors, at least one."""
    nested, first = _first(statistics)
    return Nested.of(first) if nested else Crossed.of(first)


def too_large(statistics: CrossProducts, names: list[str]) -> str:
    """Why the model is too large for its elimination, with the factors' names; empty if it is not."""
    limits, (nested, first) = allowed(), _first(statistics)
    if not nested and first.columns.m > limits.columns:
        others = quoted(names[f] for f in first.columns.factors)
        return f"the crossed factors {others} have {first.columns.m} effects, more than {limits.columns}"
    if (products := first.products_kept) > limits.products:
        name = names[first.position]
        return f"the groups of {name!r} occur with so many columns that {products:.1e} cross-products would be kept"
    return ""


def integration_order(statistics: CrossProducts) -> tuple[bool, tuple[int, ...]]:
    """Whether all factors are nested, and their order: from the leaves to the root if so, else by number of effects.

    This does not prepare an elimination, which takes a while after a fit has been loaded or unpickled.
    """
    order = nesting_order(statistics)
    if order is not None:
        return True, order
    size = [q * J for q, J in zip(statistics.n_effects, statistics.n_levels, strict=True)]
    return False, tuple(sorted(range(len(size)), key=lambda f: -size[f]))


def _first(statistics: CrossProducts) -> tuple[bool, FirstFactor]:
    """Whether all factors are nested, and the first."""
    nested, order = integration_order(statistics)
    return nested, FirstFactor.of(statistics, order)
