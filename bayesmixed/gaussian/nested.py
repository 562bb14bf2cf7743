"""Integrate out the factors above the first one, each nested in the next: group by group, in linear time.

Every group j of a factor has one ancestor in each later factor, so that its cross-products C_j with the columns that
are left touch few of them. Integrating its effects out subtracts C_j' M_j C_j, M_j = (Sigma^-1 + S_j)^-1, from their
cross-products, and nothing that was zero fills up. A model with a single factor is the case of no further factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from bayesmixed.gaussian.batched import conditional_effects, conditional_root, lower
from bayesmixed.gaussian.elimination import Columns
from bayesmixed.gaussian.statistics import CrossProducts, is_nested


@dataclass(frozen=True)
class Step:
    """Where one factor's groups find their numbers among the targets, and where their elimination goes.

    Attributes
    ----------
    S : numpy.ndarray of int, shape (q, q, J)
    C : numpy.ndarray of int, shape (q, k, J)
        k columns are left to each group: its ancestors' effects, then V.
    ancestors : tuple of numpy.ndarray of int, shape (J,)
        Its level of each later factor.
    scatter : sparse array of shape (t, k (k + 1) / 2 * J)
        Adds up ``C_j' M_j C_j``, packed, at the targets.
    """

    S: np.ndarray
    C: np.ndarray
    ancestors: tuple[np.ndarray, ...]
    scatter: sparse.csr_array


def chain(statistics: CrossProducts) -> tuple[int, ...] | None:
    """All factors ordered so that each is nested in the next, or None."""
    order = sorted(range(len(statistics.S)), key=lambda f: (-statistics.n_levels[f], f))
    return tuple(order) if all(is_nested(statistics, *pair) for pair in pairwise(order)) else None


@dataclass(frozen=True)
class Nested:
    """The factors above the first, none of which crosses another.

    Attributes
    ----------
    columns : Columns
    steps : tuple of Step
        From the leaves to the root.
    V : numpy.ndarray of int, shape (P, P)
        Where V's own cross-products stand among the targets.
    """

    columns: Columns
    steps: tuple[Step, ...]
    V: np.ndarray

    @classmethod
    def of(cls, statistics: CrossProducts, columns: Columns, targets: np.ndarray) -> Nested:
        """Look up every group's place among the targets of the first factor."""
        total = columns.total

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
            pairs = np.array(lower(len(rest)))
            goal = place(rest[pairs[:, 0]], rest[pairs[:, 1]]).ravel()
            scatter = sparse.csr_array((np.ones(len(goal)), (goal, np.arange(len(goal)))), (len(targets), len(goal)))
            steps.append(Step(place(own[:, None], own[None]), place(own[:, None], rest[None]), ancestors, scatter))
        return cls(columns, tuple(steps), place(v[:, None], v[None]))

    @property
    def size(self) -> int:
        """Numbers of one evaluation's working arrays."""
        return sum(step.scatter.shape[1] + step.C.size + step.S.size for step in self.steps)

    @property
    def flops(self) -> float:
        """Floating point operations of one evaluation, roughly."""
        return 10.0 * self.size

    def reduce(self, values: np.ndarray, roots: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """G = V' V_lambda^-1 V, (P, P, N), and log determinant, (N,), of the entries of B and the roots of Sigma."""
        log_det = np.zeros(values.shape[1])
        for step, root in zip(self.steps, roots, strict=True):
            F, step_log_det = conditional_root(values[step.S], root[:, :, None])
            log_det = log_det + step_log_det.sum(axis=0)
            values = _eliminate(values, step, F)
        return values[self.V], log_det

    def factor(self, values: np.ndarray, roots: list[np.ndarray]) -> NestedFactors:
        """Eliminate, and keep what drawing the effects needs."""
        kept = []
        for step, root in zip(self.steps, roots, strict=True):
            F, _ = conditional_root(values[step.S], root[:, :, None])
            kept.append((F, values[step.C]))
            values = _eliminate(values, step, F)
        return NestedFactors(self, values[self.V], kept)


def _eliminate(values: np.ndarray, step: Step, F: np.ndarray) -> np.ndarray:
    """Subtract C_j' M_j C_j of all groups, M_j = F F', from the cross-products of what is left."""
    C = values[step.C]  # (q, k, J, N)
    FC = sum(F[k, :, None] * C[k] for k in range(len(F)))
    taken = np.stack([(FC[:, a] * FC[:, b]).sum(axis=0) for a, b in lower(C.shape[1])])
    return values - step.scatter @ taken.reshape(-1, values.shape[1])


@dataclass(frozen=True)
class NestedFactors:
    """An elimination whose effects can be drawn: from the root to the leaves, each group given its ancestors.

    Attributes
    ----------
    nested : Nested
    G : numpy.ndarray of shape (P, P, N)
    kept : list of (numpy.ndarray of shape (q, q, J, N), numpy.ndarray of shape (q, k, J, N))
        Per factor: F of `conditional_root`, and the cross-products C with what is left.
    """

    nested: Nested
    G: np.ndarray
    kept: list[tuple[np.ndarray, np.ndarray]]

    def draw(
        self, gamma: np.ndarray, sigma: np.ndarray, normals: list[np.ndarray], which: np.ndarray
    ) -> list[np.ndarray]:
        """Effects given the common ones.

        Parameters
        ----------
        gamma : numpy.ndarray of shape (P - 1, S)
        sigma : numpy.ndarray of shape (S,)
        normals : list of numpy.ndarray of shape (q, J, S)
            Per factor; zeros give the conditional means.
        which : numpy.ndarray of int, shape (S,)
            The point of the elimination that each draw belongs to.

        Returns
        -------
        list of numpy.ndarray of shape (q, J, S)
            Per factor, working units.
        """
        steps = self.nested.steps
        drawn: list[np.ndarray] = [np.empty(0)] * len(steps)
        for at in reversed(range(len(steps))):
            F, C = (array[..., which] for array in self.kept[at])
            above = [b[:, ancestor] for b, ancestor in zip(drawn[at + 1 :], steps[at].ancestors, strict=True)]
            known = [*(effect for b in above for effect in b), *gamma]
            t = C[:, -1] - sum(C[:, i] * value for i, value in enumerate(known))  # Z'W (y - what is known)
            drawn[at] = conditional_effects(F, t, sigma * normals[at])
        return drawn
