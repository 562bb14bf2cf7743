"""The order of the effects: factors each nested in the next, those that cross them, and the common effects."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from bayesmixed.design.spec import Design
from bayesmixed.gaussian.statistics import sums_by


@dataclass(frozen=True)
class Layout:
    """The position of each effect in the vector of all effects.

    Effect e of level j of factor f is at ``offsets[f] + e n_levels[f] + j``. Factors are numbered as they are
    integrated out: first those *nested* each in the next, whose groups are independent given the levels above, then the
    *crossed* ones. The columns of these and of the common effects, at the end, are *shared* by all groups.

    Attributes
    ----------
    factors : tuple of int
        The model's factors, in this order.
    nested : int
        Number of those that are nested, each in the next.
    n_effects, n_levels, offsets : tuple of int
    ancestors : dict of (int, int) to numpy.ndarray of int, shape (n_levels[i],)
        The level of nested factor k > i with which each level of factor i occurs.
    p : int
        Number of common effects.
    """

    STORED: ClassVar[tuple[str, ...]] = ("factors", "nested", "n_effects", "n_levels", "offsets", "ancestors", "p")

    factors: tuple[int, ...]
    nested: int
    n_effects: tuple[int, ...]
    n_levels: tuple[int, ...]
    offsets: tuple[int, ...]
    ancestors: dict[tuple[int, int], np.ndarray]
    p: int

    @classmethod
    def of(cls, n_effects: list[int], n_levels: list[int], codes: list[np.ndarray], p: int) -> Layout:
        """Order the factors of a model, given their effects, their levels and the rows' codes."""
        nested, crossed = nesting_order(n_effects, n_levels, codes)
        order = (*nested, *crossed)
        q, levels = tuple(n_effects[f] for f in order), tuple(n_levels[f] for f in order)
        ends = np.cumsum([0, *(a * b for a, b in zip(q, levels, strict=True))])
        ancestors = {
            (i, k): _parent(codes[nested[i]], codes[nested[k]], levels[i]) for k in range(len(nested)) for i in range(k)
        }
        return cls(order, len(nested), q, levels, tuple(ends.tolist()), ancestors, p)

    @classmethod
    def of_design(cls, design: Design) -> Layout:
        """Order the factors of a design."""
        groups = design.groups
        return cls.of(
            [len(factor.effect_names) for factor in groups],
            [len(factor.levels) for factor in groups],
            [factor.codes for factor in groups],
            len(design.common_names) + design.has_intercept,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Cached values are left out: they are recomputed from the fields when needed."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def size(self) -> int:
        """Number of all effects."""
        return self.offsets[-1] + self.p

    @property
    def start(self) -> int:
        """Where the shared columns start."""
        return self.offsets[self.nested]

    @property
    def n_shared(self) -> int:
        """Number of shared columns."""
        return self.size - self.start

    @cached_property
    def sums(self) -> dict[tuple[int, int], sparse.csr_array]:
        """Sums over the levels of nested factor i by their ancestor of factor k: (n_levels[k], n_levels[i])."""
        return {(i, k): sums_by(ancestor, self.n_levels[k]) for (i, k), ancestor in self.ancestors.items()}

    def own(self, values: np.ndarray, i: int) -> np.ndarray:
        """Effects of factor i as (q, J, ...), a view, of the vector of all, (size, ...)."""
        return values[self.offsets[i] : self.offsets[i + 1]].reshape(
            self.n_effects[i], self.n_levels[i], *values.shape[1:]
        )

    def common(self, values: np.ndarray) -> np.ndarray:
        """The common effects, (p, ...), a view."""
        return values[self.offsets[-1] :]

    def placed(self, values: np.ndarray, other: Layout) -> np.ndarray:
        """Effects of another layout, (size, C), whose levels come first in this one; effects of other levels are 0."""
        found = np.zeros((self.size, values.shape[1]))
        for i, f in enumerate(self.factors):
            j = other.factors.index(f)
            self.own(found, i)[:, : other.n_levels[j]] = other.own(values, j)
        self.common(found)[:] = other.common(values)
        return found


def nesting_order(
    n_effects: list[int], n_levels: list[int], codes: list[np.ndarray]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The factors that are integrated out group by group, each nested in the next, and those that cross them.

    The first is the factor with most effects; others follow by number of levels if the previous one is nested in them.
    """
    order = sorted(range(len(codes)), key=lambda f: (-n_effects[f] * n_levels[f], f))
    nested = order[:1]
    for f in sorted(order[1:], key=lambda f: (-n_levels[f], f)):
        inner = nested[-1]
        if np.array_equal(_parent(codes[inner], codes[f], n_levels[inner])[codes[inner]], codes[f]):
            nested.append(f)
    return tuple(nested), tuple(f for f in order if f not in nested)


def _parent(inner: np.ndarray, outer: np.ndarray, n_levels: int) -> np.ndarray:
    """A level of the outer factor with which each level of the inner one occurs."""
    found = np.zeros(n_levels, dtype=int)
    found[inner] = outer
    return found
