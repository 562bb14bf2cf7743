"""Effects of the largest factor that are too many to store: each draw is made again when it is requested.

Within a sweep the largest factor comes last, so its effects depend only on what is stored of the same draw (the other
factors' effects, the shared ones, covariances and sigma) and on noise that is keyed by (seed, factor, sweep) and level.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from scipy.special import ndtri

from bayesmixed.chunks import allowed, chunks
from bayesmixed.gaussian.batched import conditional_effects, conditional_root, unpack
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.first_factor import Columns, Entries, Kinds
from bayesmixed.keyed_random import cell_uniforms, row_uniforms
from bayesmixed.sampling.gibbs.limits import split
from bayesmixed.sampling.gibbs.model import crossing

Key = tuple[int | str, ...]


def sweep_normals(key: Key, sweep: int, J: int, q: int, C: int) -> np.ndarray:
    """Noise of one sweep's effects, (q, J, C)."""
    return np.moveaxis(ndtri(row_uniforms((*key, sweep), 0, J, C * q)).reshape(J, C, q), 2, 0)


@dataclass(frozen=True)
class ReplayedEffects:
    """The largest factor's effects given everything that is stored; an `EffectSource`.

    Attributes
    ----------
    density : CollapsedDensity
    theta : numpy.ndarray of shape (d, S)
        Coordinates of all covariances, on the absolute scale, at every draw, chain after chain.
    s : numpy.ndarray of shape (S,)
        log(sigma), working units.
    shared : numpy.ndarray of shape (K - 1, S)
        The small factors' effects, then the common ones, working units.
    others : dict of int to numpy.ndarray of shape (chain, draw, J, q)
        Effects of the other large factors, by position, on the user's scale: the same arrays as in the draws.
    key : tuple of int and str
        Of the noise.
    sweeps : numpy.ndarray of int, shape (draw,)
        The sweep of each draw.
    running : int
        Number of chains that ran.
    mean : numpy.ndarray of shape (J, q)
        Posterior means, averages of conditional ones.
    """

    STORED: ClassVar[tuple[str, ...]] = (
        "density",
        "theta",
        "s",
        "shared",
        "others",
        "key",
        "sweeps",
        "running",
        "mean",
    )

    density: CollapsedDensity
    theta: np.ndarray
    s: np.ndarray
    shared: np.ndarray
    others: dict[int, np.ndarray]
    key: Key
    sweeps: np.ndarray
    running: int
    mean: np.ndarray

    def __getstate__(self) -> dict[str, Any]:
        """Cached values are left out: they are recomputed from the fields when needed."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def position(self) -> int:
        """Position of the factor."""
        statistics = self.density.statistics
        return split(statistics.n_effects, statistics.n_levels)[0][-1]

    @property
    def n_effects(self) -> int:
        """Number of effects of each level, q."""
        return self.density.statistics.n_effects[self.position]

    @cached_property
    def _T(self) -> np.ndarray:  # noqa: N802 - its name in the equations
        """Z'W [Z_small, V] of every level, (q, K, J)."""
        statistics = self.density.statistics
        columns = Columns.of(statistics, split(statistics.n_effects, statistics.n_levels)[1])
        entries = Entries.of(statistics, self.position, columns)
        T = np.zeros((self.n_effects, columns.total, statistics.n_levels[self.position]))
        T[:, entries.column, entries.level] = entries.values
        return T

    @cached_property
    def _kinds(self) -> Kinds:
        return Kinds.of(self.density.statistics.S[self.position])

    @cached_property
    def _met(self) -> list[tuple[list[sparse.csr_array], np.ndarray]]:
        """Per other large factor Z'W Z_g by effect, (J, q_g * J_g), and its effects (q_g * J_g, S), working units."""
        found, J = [], self._T.shape[2]
        for g, stored in self.others.items():
            A = crossing(self.density.statistics, self.position, g)
            b = np.moveaxis(stored.reshape(-1, *stored.shape[2:]), 0, -1).swapaxes(0, 1)  # (q, J, S)
            b = self.density.units.working_effects(g, b)
            rows = [A[e * J : (e + 1) * J] for e in range(self.n_effects)]
            found.append((rows, np.ascontiguousarray(b.reshape(-1, b.shape[2]))))
        return found

    @cached_property
    def _root(self) -> np.ndarray:
        """Of the factor's covariance over sigma^2, (q, q, S)."""
        return self.density.covariances.at(self.theta).roots[self.position] / np.exp(self.s)

    def means(self, levels: np.ndarray) -> np.ndarray:
        """See `EffectSource.means`."""
        return self.mean[levels]

    def draw(self, levels: np.ndarray) -> np.ndarray:
        """Draws for some levels, on the user's scale, (S, k, q)."""
        levels = np.asarray(levels)
        result = np.empty((len(self.s), len(levels), self.n_effects))
        for some in chunks(len(levels), len(self.s) * self.n_effects, allowed().working):
            b = self.density.units.group_effects(self.position, self._draw(levels[some]))
            result[:, some] = np.moveaxis(b, 0, -1).swapaxes(0, 1)
        return result

    def _draw(self, levels: np.ndarray) -> np.ndarray:
        """As `draw`, in working units, (q, k, S)."""
        T = self._T[:, :, levels]
        t = np.repeat(T[:, -1, :, None], len(self.s), axis=2)
        for i, known in enumerate(self.shared):
            t -= T[:, i, :, None] * known
        for rows, b in self._met:
            for e, A in enumerate(rows):
                t[e] -= A[levels] @ b
        S = unpack(self._kinds.S[:, self._kinds.of_level[levels]], self.n_effects)
        F, _ = conditional_root(S[..., None], self._root[:, :, None])
        return conditional_effects(F, t, np.exp(self.s) * self._normals(levels))

    def _normals(self, levels: np.ndarray) -> np.ndarray:
        """Noise of some levels at every draw, (q, k, S)."""
        q, C = self.n_effects, len(self.s) // len(self.sweeps)
        z = np.empty((len(self.sweeps), len(levels), C, q))
        if len(levels):
            first, last = int(levels.min()), int(levels.max()) + 1
            for at, sweep in enumerate(self.sweeps.tolist()):
                table = row_uniforms((*self.key, sweep), first, last, self.running * q)
                z[at] = table[levels - first, : C * q].reshape(len(levels), C, q)
        return ndtri(z).transpose(3, 1, 2, 0).reshape(q, len(levels), -1)

    def draw_each(self, levels: np.ndarray) -> np.ndarray:
        """Effects of one level per draw, equal to those from `draw`; (S, q)."""
        levels = np.asarray(levels)
        T = self._T[:, :, levels]
        t = T[:, -1].copy()
        for i, known in enumerate(self.shared):
            t -= T[:, i] * known
        for rows, b in self._met:
            for e, A in enumerate(rows):
                met = A[levels]
                draw = np.repeat(np.arange(len(levels)), np.diff(met.indptr))
                t[e] -= np.bincount(draw, met.data * b[met.indices, draw], len(levels))
        S = unpack(self._kinds.S[:, self._kinds.of_level[levels]], self.n_effects)
        F, _ = conditional_root(S, self._root)
        b = conditional_effects(F, t, np.exp(self.s) * self._normals_each(levels))
        return self.density.units.group_effects(self.position, b).T

    def _normals_each(self, levels: np.ndarray) -> np.ndarray:
        """Noise of one level per draw, (q, S)."""
        q, C = self.n_effects, len(self.s) // len(self.sweeps)
        by_sweep = levels.reshape(C, -1).T
        z = np.empty((len(self.sweeps), C, q))
        for at, sweep in enumerate(self.sweeps.tolist()):
            z[at] = cell_uniforms((*self.key, sweep), by_sweep[at], np.arange(C) * q, q, self.running * q)
        return ndtri(z).transpose(2, 1, 0).reshape(q, -1)
