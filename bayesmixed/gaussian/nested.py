"""Integrate out the factors above the first one, each nested in the next: group by group, in linear time.

Every group j of a factor has one ancestor in each later factor, so that its cross-products C_j with the remaining
columns involve few of them. Integrating its effects out subtracts C_j' M_j C_j, M_j = (Sigma^-1 + S_j)^-1, from their
cross-products, and there is no fill-in. A model with a single factor is the special case without later factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from bayesmixed.design.statistics import CrossProducts
from bayesmixed.gaussian.batched import conditional_effects, conditional_root, lower_indices, quadratic_form
from bayesmixed.gaussian.first_factor import FirstFactor, Remainder
from bayesmixed.gaussian.statistics import is_nested, sums_by
from bayesmixed.gaussian.units import WorkingRows


@dataclass(frozen=True)
class Step:
    """Where one factor's groups have their entries among the targets, and where their elimination is subtracted.

    Attributes
    ----------
    S : numpy.ndarray of int, shape (q, q, J)
    C : numpy.ndarray of int, shape (q, k, J)
        k columns remain for each group: its ancestors' effects, then V.
    ancestors : tuple of numpy.ndarray of int, shape (J,)
        Each group's level of each later factor.
    scatter : sparse array of shape (t, . * J)
        Adds up the columns of ``C_j' M_j C_j`` that belong to ancestors, from the diagonal down, at the targets; those
        of V, which all groups share, are summed as they are.
    """

    S: np.ndarray
    C: np.ndarray
    ancestors: tuple[np.ndarray, ...]
    scatter: sparse.csr_array


def nesting_order(statistics: CrossProducts) -> tuple[int, ...] | None:
    """All factors, ordered so that each is nested in the next, or None."""
    order = sorted(range(len(statistics.S)), key=lambda f: (-statistics.n_levels[f], f))
    return tuple(order) if all(is_nested(statistics, *pair) for pair in pairwise(order)) else None


@dataclass(frozen=True)
class Nested:
    """Factors that do not cross each other; an `Elimination`.

    Attributes
    ----------
    first : FirstFactor
    remainder : Remainder
    steps : tuple of Step
        Of the later factors, from the leaves to the root.
    V : numpy.ndarray of int, shape (P, P)
        Positions of V's own cross-products among the targets.
    """

    first: FirstFactor
    remainder: Remainder
    steps: tuple[Step, ...]
    V: np.ndarray

    @classmethod
    def of(cls, first: FirstFactor) -> Nested:
        """Look up every group's place among the targets of the first factor."""
        statistics, columns, remainder = first.statistics, first.columns, Remainder.of(first)
        total, targets = columns.total, remainder.targets

        def place(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
            return np.searchsorted(targets, np.maximum(rows, cols) * total + np.minimum(rows, cols))

        v = np.arange(columns.m, total)
        steps = []
        for at, (f, offset, q, J) in enumerate(
            zip(columns.factors, columns.offsets, columns.n_effects, columns.n_levels, strict=True)
        ):
            own = offset + np.arange(q)[:, None] + q * np.arange(J)  # (q, J)
            later = range(at + 1, len(columns.factors))
            ancestors = tuple(statistics.between(f, columns.factors[g]).second for g in later)
            left = [
                columns.offsets[g] + columns.n_effects[g] * ancestor + e
                for g, ancestor in zip(later, ancestors, strict=True)
                for e in range(columns.n_effects[g])
            ]
            rest = np.concatenate([np.reshape(left, (-1, J)), np.tile(v[:, None], J)]).astype(int)
            mine = range(len(left))
            goal = np.concatenate([place(rest[b:], rest[b]).ravel() for b in mine]) if left else np.empty(0, dtype=int)
            scatter = sums_by(goal, len(targets))
            steps.append(Step(place(own[:, None], own[None]), place(own[:, None], rest[None]), ancestors, scatter))
        return cls(first, remainder, tuple(steps), place(v[:, None], v[None]))

    @property
    def size(self) -> int:
        """See `Elimination.size`."""
        return self.remainder.size + self._later_size

    @property
    def flops(self) -> float:
        """See `Elimination.flops`."""
        return self.remainder.flops + 10.0 * self._later_size

    @property
    def _later_size(self) -> int:
        return sum(step.scatter.shape[1] + step.C.size + step.S.size for step in self.steps)

    @property
    def largest(self) -> int:
        """See `Elimination.largest`."""
        return len(self.V)

    @property
    def row_size(self) -> int:
        """See `Elimination.row_size`."""
        return sum(self.first.statistics.n_effects)

    def reduce(self, roots: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """See `Elimination.reduce`."""
        values, log_det_first = self.remainder.reduce(roots[self.first.position])
        log_det = np.zeros(values.shape[1])
        for step, f in zip(self.steps, self.first.columns.factors, strict=True):
            F, step_log_det = conditional_root(values[step.S], roots[f][:, :, None])
            log_det = log_det + step_log_det.sum(axis=0)
            values = self._eliminate(values, step, F)
        return values[self.V], log_det_first + log_det

    def factorise(self, roots: list[np.ndarray]) -> NestedFactors:
        """See `Elimination.factorise`."""
        values, _ = self.remainder.reduce(roots[self.first.position])
        kept = []
        for step, f in zip(self.steps, self.first.columns.factors, strict=True):
            F, _ = conditional_root(values[step.S], roots[f][:, :, None])
            kept.append((F, values[step.C]))
            values = self._eliminate(values, step, F)
        return NestedFactors(self, values[self.V], roots[self.first.position], kept)

    def _eliminate(self, values: np.ndarray, step: Step, F: np.ndarray) -> np.ndarray:
        """Subtract C_j' M_j C_j of all groups, M_j = F F', from the cross-products of what remains."""
        C = values[step.C]  # (q, k, J, N)
        FC = sum(F[k, :, None] * C[k] for k in range(len(F)))
        P, N = len(self.V), values.shape[1]
        above = FC.shape[1] - P
        if above:
            taken = [(FC[:, b:] * FC[:, None, b]).sum(axis=0).reshape(-1, N) for b in range(above)]
            values = values - step.scatter @ np.concatenate(taken)
        of_V = np.moveaxis(FC[:, above:], 1, 0).reshape(P, -1, N)
        below = lower_indices(P)
        values[self.V[below]] -= np.einsum("ain,bin->abn", of_V, of_V)[below]
        return values


@dataclass(frozen=True)
class NestedFactors:
    """Nested factors after elimination; a `Factorised`. Effects are drawn from root to leaves, given those above.

    Attributes
    ----------
    nested : Nested
    G : numpy.ndarray of shape (P, P, N)
    root : numpy.ndarray of shape (q, q, N)
        Of the first factor's Sigma.
    kept : list of (numpy.ndarray of shape (q, q, J, N), numpy.ndarray of shape (q, k, J, N))
        Per later factor: F of `conditional_root`, and the cross-products C with what remains.
    """

    nested: Nested
    G: np.ndarray
    root: np.ndarray
    kept: list[tuple[np.ndarray, np.ndarray]]

    def draw(
        self, gamma: np.ndarray, sigma: np.ndarray, normals: list[np.ndarray], which: np.ndarray
    ) -> list[np.ndarray]:
        """See `Factorised.draw`."""
        steps = self.nested.steps
        drawn: list[np.ndarray] = [np.empty(0)] * len(steps)
        for at in reversed(range(len(steps))):
            F, C = (array[..., which] for array in self.kept[at])
            above = [b[:, ancestor] for b, ancestor in zip(drawn[at + 1 :], steps[at].ancestors, strict=True)]
            known = [*(effect for b in above for effect in b), *gamma]
            t = C[:, -1] - sum(C[:, i] * value for i, value in enumerate(known))  # Z'W (y - what is known)
            drawn[at] = conditional_effects(F, t, sigma * normals[at])
        return drawn

    def without(self, rows: WorkingRows) -> tuple[np.ndarray, np.ndarray]:
        """See `Factorised.without`: factor by factor."""
        first = self.nested.first
        g, left, variance = first.without(rows, self.root)
        columns = []
        for f, Z in zip(first.columns.factors, rows.Z[1:], strict=True):
            # a level of the first factor occurs with only one of each later factor
            C = first.statistics.between(first.position, f).products[:, :, rows.codes[0], None]
            columns += list(Z[..., None] - (g[:, None] * C).sum(axis=0))
        rest, later = [*columns, *left], np.zeros(left.shape[1:])
        for (F, C), codes in zip(self.kept, rows.codes[1:], strict=True):
            q = len(F)
            g, own = quadratic_form(F[:, :, codes], np.array(rest[:q]))
            taken = (g[:, None] * C[:, :, codes]).sum(axis=0)
            rest = [value - less for value, less in zip(rest[q:], taken, strict=True)]
            later += own
        return np.array(rest), variance + later
