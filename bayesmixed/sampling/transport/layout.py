"""In which order effects stand: factors each nested in the next, what crosses them, and the common effects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from bayesmixed.design.factors import GroupFactor


@dataclass(frozen=True)
class Layout:
    """Where each effect stands in the vector of all.

    Effect e of level j of factor f is at ``offsets[f] + e n_levels[f] + j``. Factors are numbered as they are
    integrated out: first a *nested chain*, whose groups are independent given the levels above, then the *crossed*
    ones. These and the common effects, at the end, are the shared columns.

    Attributes
    ----------
    factors : tuple of int
        The model's factors, in this order.
    nested : int
        Number of those that are nested, each in the next.
    n_effects, n_levels, offsets : tuple of int
    ancestors : dict of (int, int) to numpy.ndarray of int, shape (n_levels[i],)
        The level of nested factor k > i that each level of factor i occurs with.
    p : int
        Number of common effects.
    """

    factors: tuple[int, ...]
    nested: int
    n_effects: tuple[int, ...]
    n_levels: tuple[int, ...]
    offsets: tuple[int, ...]
    ancestors: dict[tuple[int, int], np.ndarray]
    p: int

    @classmethod
    def of(cls, groups: tuple[GroupFactor, ...], p: int) -> Layout:
        """Order the factors of a design."""
        chain, crossed = nested_chain(groups)
        order = (*chain, *crossed)
        q = tuple(len(groups[f].effect_names) for f in order)
        levels = tuple(len(groups[f].levels) for f in order)
        ends = np.cumsum([0, *(a * b for a, b in zip(q, levels, strict=True))])
        ancestors = {(i, k): _parent(groups[chain[i]], groups[chain[k]]) for k in range(len(chain)) for i in range(k)}
        return cls(order, len(chain), q, levels, tuple(ends.tolist()), ancestors, p)

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
        found = {}
        for (i, k), ancestor in self.ancestors.items():
            J = len(ancestor)
            found[i, k] = sparse.csr_array((np.ones(J), (ancestor, np.arange(J))), (self.n_levels[k], J))
        return found

    def own(self, values: np.ndarray, i: int) -> np.ndarray:
        """Effects of factor i as (q, J, ...), a view, of the vector of all, (size, ...)."""
        return values[self.offsets[i] : self.offsets[i + 1]].reshape(
            self.n_effects[i], self.n_levels[i], *values.shape[1:]
        )

    def common(self, values: np.ndarray) -> np.ndarray:
        """The common effects, (p, ...), a view."""
        return values[self.offsets[-1] :]


def nested_chain(groups: tuple[GroupFactor, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The factors that are integrated out group by group, from the leaves to the root, and those that cross them.

    It starts at the factor of most effects and goes on, by number of levels, to what the last one is nested in.
    """
    if not groups:
        return (), ()
    order = sorted(range(len(groups)), key=lambda f: (-groups[f].Z.shape[1] * len(groups[f].levels), f))
    chain = order[:1]
    for f in sorted(order[1:], key=lambda f: (-len(groups[f].levels), f)):
        if is_nested(groups[chain[-1]], groups[f]):
            chain.append(f)
    return tuple(chain), tuple(f for f in order if f not in chain)


def is_nested(inner: GroupFactor, outer: GroupFactor) -> bool:
    """Whether every level of `inner` occurs with a single level of `outer`."""
    return bool((_parent(inner, outer)[inner.codes] == outer.codes).all())


def _parent(inner: GroupFactor, outer: GroupFactor) -> np.ndarray:
    found = np.zeros(len(inner.levels), dtype=int)
    found[inner.codes] = outer.codes
    return found
