"""Exact draws of common and group effects, given draws of the group covariances and sigma.

Everything the chain has integrated out is drawn back from its conditional normal distribution: gamma, then the later
factors, then the first one, group by group. The joint chain converges at the rate of the covariances' chain (Acosta,
Huber & Jones, 2014, Markov chain Monte Carlo with linchpin variables, technical report, University of Minnesota).

The first factor's effects may be too many to store. They are then drawn when asked for: a draw depends on
(seed, factor, level, draw) alone, and the arithmetic is elementwise, so that the numbers are the same to the last bit
whichever levels are drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy.special import ndtri

from bayesmixed.chunks import allowed, chunks
from bayesmixed.gaussian.batched import conditional_effects, conditional_root, unpack
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.first_factor import Entries, FirstFactor
from bayesmixed.keyed_random import normals, row_uniforms


@dataclass(frozen=True)
class Points:
    """Distinct points of the chains, and which of them each draw is at.

    Attributes
    ----------
    roots : list of numpy.ndarray of shape (q, q, n)
        Of each factor's covariance, relative to sigma^2.
    s : numpy.ndarray of shape (n,)
        log(sigma), working units.
    which : numpy.ndarray of int, shape (S,)
        Of every draw, chain after chain.
    """

    STORED: ClassVar[tuple[str, ...]] = ("roots", "s", "which")

    roots: list[np.ndarray]
    s: np.ndarray
    which: np.ndarray

    def with_draws(self, chunks: Iterable[slice]) -> Iterator[tuple[slice, np.ndarray]]:
        """Some points at a time, with the draws that are at them."""
        order = np.argsort(self.which, kind="stable")
        at = self.which[order]
        for points in chunks:
            yield points, order[slice(*np.searchsorted(at, [points.start, points.stop]))]


@dataclass(frozen=True)
class Coefficients:
    """What the first factor's effects depend on beside their own data; working units.

    Attributes
    ----------
    gamma, gamma_mean : numpy.ndarray of shape (P - 1, S)
        Draws of the common effects, and their means given the draw's covariances and sigma.
    later, later_mean : numpy.ndarray of shape (m, S)
        The same of the later factors' effects, in the order of `Columns`.
    """

    STORED: ClassVar[tuple[str, ...]] = ("gamma", "gamma_mean", "later", "later_mean")

    gamma: np.ndarray
    gamma_mean: np.ndarray
    later: np.ndarray
    later_mean: np.ndarray


@dataclass(frozen=True)
class FirstEffects:
    """The first factor's effects given everything else.

    Attributes
    ----------
    density : CollapsedDensity
    points : Points
    coefficients : Coefficients
    key : tuple of int and str
        Of its random numbers.
    """

    STORED: ClassVar[tuple[str, ...]] = ("density", "points", "coefficients", "key")

    density: CollapsedDensity
    points: Points
    coefficients: Coefficients
    key: tuple[int | str, ...]

    def __getstate__(self) -> dict[str, Any]:
        """What follows from the fields is made again when it is needed."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def first(self) -> FirstFactor:
        """The factor, and its groups' data."""
        return self.density.elimination.first

    @property
    def factor(self) -> int:
        """Position of the factor."""
        return self.first.position

    @property
    def n_levels(self) -> int:
        """Number of its levels."""
        return self.density.statistics.n_levels[self.factor]

    @property
    def n_effects(self) -> int:
        """Effects of each level, q."""
        return self.density.statistics.n_effects[self.factor]

    def draw(self, levels: np.ndarray) -> np.ndarray:
        """Draws for some levels, on the user's scale.

        Parameters
        ----------
        levels : numpy.ndarray of int, shape (k,)

        Returns
        -------
        numpy.ndarray of shape (S, k, q)
        """
        levels = np.asarray(levels)
        S = len(self.points.which)
        result = np.empty((S, len(levels), self.n_effects))
        for some in chunks(len(levels), S, allowed().effects):
            b = self.density.units.group_effects(self.factor, self._draw(levels[some]))
            result[:, some] = np.moveaxis(b, 0, -1).swapaxes(0, 1)
        return result

    def _draw(self, levels: np.ndarray) -> np.ndarray:
        """Working units, (q, k, S)."""
        statistics, which = self.density.statistics, self.points.which
        T = statistics.T[self.factor][:, :, levels]
        q, P, _ = T.shape
        t = np.repeat(T[:, -1, :, None], len(which), axis=2)  # Z'W (y - everything that is known)
        for i in range(P - 1):
            t -= T[:, i, :, None] * self.coefficients.gamma[i]
        if len(self.coefficients.later):
            for e, C in enumerate(self.first.cross):
                t[e] -= C[levels] @ self.coefficients.later
        z = np.moveaxis(level_normals(self.key, levels, len(which), q), 2, 0)
        return conditional_effects(self._root(levels), t, np.exp(self.points.s)[which] * z)

    def _root(self, levels: np.ndarray) -> np.ndarray:
        """F of `conditional_root` for every level and draw, (q, q, k, S); levels of equal S_j are done once."""
        all_kinds, root = self.first.kinds, self.points.roots[self.factor]
        kinds, place = np.unique(all_kinds.of_level[levels], return_inverse=True)
        F, _ = conditional_root(unpack(all_kinds.S[:, kinds], len(root))[..., None], root[:, :, None])
        return F[:, :, place[:, None], self.points.which]

    @cached_property
    def _entries(self) -> Entries:
        return self.first.entries()

    @cached_property
    def mean(self) -> np.ndarray:
        """Exact posterior means given the covariances' draws, on the user's scale; shape (n_levels, q).

        E[b_j] = mean over draws of M_j Z_j'W (y - X E[gamma] - Z_later E[b_later]), all conditional on the draw's
        covariances. The sums over draws are taken once for all groups of equal S_j.
        """
        first, entries = self.first, self._entries
        kind = first.kinds.of_level[entries.level]
        order = np.argsort(kind, kind="stable")
        q, U = self.n_effects, first.kinds.S.shape[1]
        b = np.zeros((q, self.n_levels))
        for kinds in chunks(U, q * q * first.columns.total, allowed().moments):
            mine = order[slice(*np.searchsorted(kind[order], [kinds.start, kinds.stop]))]
            moments = self._moments(kinds)
            at, column, values = kind[mine] - kinds.start, entries.column[mine], entries.values[:, mine]
            for e in range(q):
                taken = sum(moments[e, k, at, column] * values[k] for k in range(q))
                b[e] -= np.bincount(entries.level[mine], taken, self.n_levels)
        return self.density.units.group_effects(self.factor, b).T

    def _moments(self, kinds: slice) -> np.ndarray:
        """Means over draws of M_j times all that is known, (later, gamma, -1), of some S_j; (q, q, k, m + P)."""
        points, q = self.points, self.n_effects
        known = np.vstack([self.coefficients.later_mean, self.coefficients.gamma_mean])
        S = unpack(self.first.kinds.S[:, kinds], q)[..., None]
        weight = np.bincount(points.which, minlength=len(points.s)) / len(points.which)
        first_draw = np.unique(points.which, return_index=True)[1]  # conditional means are those of the draw's point
        moments = np.zeros((q * q * S.shape[2], len(known) + 1))
        for some in chunks(len(points.s), len(moments), allowed().effects):
            F, _ = conditional_root(S, points.roots[self.factor][:, :, None, some])
            M = (F[:, None] * F[None]).sum(axis=2)
            at = first_draw[some]
            taken = np.vstack([known[:, at], np.full((1, len(at)), -1.0)])
            moments += M.reshape(len(moments), -1) @ (taken * weight[some]).T
        return moments.reshape(q, q, S.shape[2], -1)


def level_normals(key: tuple[int | str, ...], levels: np.ndarray, S: int, q: int) -> np.ndarray:
    """Standard normal numbers of some levels, (k, S, q), the same whichever levels are asked for together."""
    runs = np.split(levels, np.flatnonzero(np.diff(levels) != 1) + 1)
    found = [row_uniforms(key, int(run[0]), int(run[-1]) + 1, S * q) for run in runs if len(run)]
    return ndtri(np.concatenate(found)).reshape(len(levels), S, q) if found else np.empty((0, S, q))


def draw_coefficients(
    density: CollapsedDensity,
    points: Points,
    names: list[str],
    seed: int,
    advance: Callable[[int], None] = lambda n: None,
) -> Coefficients:
    """Draw common effects and the later factors' effects; `advance` is told the number of points after every chunk."""
    elimination = density.elimination
    P, S, columns = len(density.residual.prior), len(points.which), elimination.first.columns
    gamma, gamma_mean = np.empty((2, P - 1, S))
    later, later_mean = np.empty((2, columns.m, S))
    z_gamma = normals((seed, "common"), (S, P - 1)).T
    z_later = [
        np.moveaxis(level_normals((seed, "effects", names[f]), np.arange(J), S, q), 2, 0)
        for f, J, q in zip(columns.factors, columns.n_levels, columns.n_effects, strict=True)
    ]
    for some, draws in points.with_draws(density.chunks(len(points.s))):
        factorised = elimination.factorise([root[..., some] for root in points.roots])
        which, s = points.which[draws] - some.start, points.s[points.which[draws]]
        gamma_mean[:, draws], gamma[:, draws] = density.residual.draw(factorised.G[..., which], s, z_gamma[:, draws])
        if columns.m:
            # the conditional mean is a draw without noise
            z = [np.concatenate([n[..., draws], np.zeros_like(n[..., draws])], axis=2) for n in z_later]
            both = np.hstack([gamma[:, draws], gamma_mean[:, draws]])
            drawn = columns.join(factorised.draw(both, np.exp(np.tile(s, 2)), z, np.tile(which, 2)))
            later[:, draws], later_mean[:, draws] = np.hsplit(drawn, 2)
        advance(some.stop - some.start)
    return Coefficients(gamma, gamma_mean, later, later_mean)


def later_effects(density: CollapsedDensity, values: np.ndarray) -> dict[int, np.ndarray]:
    """Effects of the later factors on the user's scale, by position of the factor: (q, J, ...) of columns (m, ...)."""
    columns = density.elimination.first.columns
    by_factor = zip(columns.factors, columns.split(values), strict=True)
    return {f: density.units.group_effects(f, mine) for f, mine in by_factor}
