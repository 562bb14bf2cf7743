"""Exact draws of common and group effects, given draws of the group covariances and sigma.

Everything the chain has integrated out is drawn back from its conditional normal distribution: gamma, then the later
factors, then the first one, group by group. The joint chain converges at the rate of the covariances' chain (Acosta,
Huber & Jones, 2014, Markov chain Monte Carlo with linchpin variables, technical report, University of Minnesota).

The first factor's effects may be too many to store. They are then drawn when asked for: a draw depends only on
(seed, factor, level, draw), and the arithmetic is elementwise, so that the numbers are the same to the last bit
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
from bayesmixed.gaussian.elimination import integration_order
from bayesmixed.gaussian.first_factor import Columns, Entries, FirstFactor
from bayesmixed.keyed_random import cell_uniforms, normals, row_uniforms


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
        The point of every draw, numbered across the chains.
    """

    STORED: ClassVar[tuple[str, ...]] = ("roots", "s", "which")

    roots: list[np.ndarray]
    s: np.ndarray
    which: np.ndarray

    def with_draws(self, chunks: Iterable[slice]) -> Iterator[tuple[slice, np.ndarray]]:
        """A few points at a time, with the draws that are at them."""
        order = np.argsort(self.which, kind="stable")
        at = self.which[order]
        for points in chunks:
            yield points, order[slice(*np.searchsorted(at, [points.start, points.stop]))]


@dataclass(frozen=True)
class Coefficients:
    """What the first factor's effects depend on besides their own data; working units.

    Attributes
    ----------
    gamma, gamma_mean : numpy.ndarray of shape (P - 1, S)
        Draws of the common effects, and their means given the draw's covariances and sigma.
    later, later_mean : numpy.ndarray of shape (m, S)
        The same for the later factors' effects, in the order of `Columns`.
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

    @cached_property
    def _order(self) -> tuple[int, ...]:
        return integration_order(self.density.statistics)[1]

    @property
    def factor(self) -> int:
        """Position of the factor."""
        return self._order[0]

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

    def draw_each(self, levels: np.ndarray) -> np.ndarray:
        """Effects of a different level at every draw, equal to those from `draw`.

        Parameters
        ----------
        levels : numpy.ndarray of int, shape (S,)

        Returns
        -------
        numpy.ndarray of shape (S, q)
        """
        levels = np.asarray(levels)
        points, kinds, q = self.points, self.first.kinds, self.n_effects
        S = len(points.which)
        T = self.density.statistics.T[self.factor][:, :, levels]
        t = T[:, -1].copy()
        for i, gamma in enumerate(self.coefficients.gamma):
            t -= T[:, i] * gamma
        if len(self.coefficients.later):
            for e, C in enumerate(self.first.cross):
                met = C[levels]
                draw = np.repeat(np.arange(S), np.diff(met.indptr))
                t[e] -= np.bincount(draw, met.data * self.coefficients.later[met.indices, draw], S)
        at = points.roots[self.factor][..., points.which]
        F, _ = conditional_root(unpack(kinds.S[:, kinds.of_level[levels]], q), at)
        z = ndtri(cell_uniforms(self.key, levels, np.arange(S) * q, q, S * q)).T
        b = conditional_effects(F, t, np.exp(points.s)[points.which] * z)
        return self.density.units.group_effects(self.factor, b).T

    def _draw(self, levels: np.ndarray) -> np.ndarray:
        """Working units, (q, k, S)."""
        statistics, which = self.density.statistics, self.points.which
        T = statistics.T[self.factor][:, :, levels]
        q, P, _ = T.shape
        t = np.repeat(T[:, -1, :, None], len(which), axis=2)  # Z'W (y - everything known)
        for i in range(P - 1):
            t -= T[:, i, :, None] * self.coefficients.gamma[i]
        if len(self.coefficients.later):
            for e, C in enumerate(self.first.cross):
                t[e] -= C[levels] @ self.coefficients.later
        z = np.moveaxis(level_normals(self.key, levels, len(which), q), 2, 0)
        return conditional_effects(self._root(levels), t, np.exp(self.points.s)[which] * z)

    def _root(self, levels: np.ndarray) -> np.ndarray:
        """F of `conditional_root` for every level and draw, (q, q, k, S); levels with equal S_j are computed once."""
        all_kinds, root = self.first.kinds, self.points.roots[self.factor]
        kinds, place = np.unique(all_kinds.of_level[levels], return_inverse=True)
        F, _ = conditional_root(unpack(all_kinds.S[:, kinds], len(root))[..., None], root[:, :, None])
        return F[:, :, place[:, None], self.points.which]

    @property
    def mean(self) -> np.ndarray:
        """Exact posterior means of all levels, (n_levels, q); see `means`."""
        return self.means(np.arange(self.n_levels))

    def means(self, levels: np.ndarray) -> np.ndarray:
        """Exact posterior means given the covariances' draws, on the user's scale; each level's are computed once.

        E[b_j] = mean over draws of M_j Z_j'W (y - X E[gamma] - Z_later E[b_later]), all conditional on the draw's
        covariances. The sums over draws are taken once for all groups of equal S_j.

        Parameters
        ----------
        levels : numpy.ndarray of int, shape (k,)
            Distinct; a level's means are the same to the last bit whichever levels are requested together.

        Returns
        -------
        numpy.ndarray of shape (k, q)
        """
        missing = levels[np.isnan(self._means[levels, 0])]
        if len(missing):
            self._means[missing] = self._exact_means(missing)
        return self._means[levels]

    @cached_property
    def _means(self) -> np.ndarray:
        """`means` so far; NaN for levels not yet requested."""
        return np.full((self.n_levels, self.n_effects), np.nan)

    def _exact_means(self, levels: np.ndarray) -> np.ndarray:
        q, columns = self.n_effects, Columns.of(self.density.statistics, self._order[1:])
        S, kind = np.unique(self.density.statistics.S[self.factor][:, levels], axis=1, return_inverse=True)
        entries = Entries.of(self.density.statistics, self.factor, columns, levels)
        kind_of_entry = kind.ravel()[entries.level]
        order = np.argsort(kind_of_entry, kind="stable")
        b = np.zeros((q, len(levels)))
        known = self._known_at_points()
        for kinds in chunks(S.shape[1], q * q * columns.total, allowed().moments):
            mine = order[slice(*np.searchsorted(kind_of_entry[order], [kinds.start, kinds.stop]))]
            moments = self._moments(unpack(S[:, kinds], q), known)
            at, column, values = kind_of_entry[mine] - kinds.start, entries.column[mine], entries.values[:, mine]
            for e in range(q):
                taken = sum(moments[at, e, k, column] * values[k] for k in range(q))
                b[e] -= np.bincount(entries.level[mine], taken, len(levels))
        return self.density.units.group_effects(self.factor, b).T

    def _known_at_points(self) -> np.ndarray:
        """Everything known, (later, gamma, -1), times the share of draws, at every point; (n, m + P)."""
        points = self.points
        weight = np.bincount(points.which, minlength=len(points.s)) / len(points.which)
        at = np.unique(points.which, return_index=True)[1]  # conditional means are those of the draw's point
        c = self.coefficients
        return (np.vstack([c.later_mean[:, at], c.gamma_mean[:, at], np.full((1, len(at)), -1.0)]) * weight).T

    def _moments(self, S: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Means over draws of M_j times everything known, for some S_j (q, q, k); shape (k, q, q, m + P)."""
        q, _, n_kinds = S.shape
        root = self.points.roots[self.factor][:, :, None]
        moments = np.empty((n_kinds, q * q, known.shape[1]))
        for some in chunks(n_kinds, len(known), allowed().effects):
            F, _ = conditional_root(S[:, :, some, None], root)
            M = (F[:, None] * F[None]).sum(axis=2)
            by_kind = np.ascontiguousarray(np.moveaxis(M.reshape(q * q, -1, len(known)), 1, 0))
            for own, result in zip(by_kind, moments[some], strict=True):  # one product each: always the same numbers
                np.matmul(own, known, out=result)
        return moments.reshape(n_kinds, q, q, -1)


def level_normals(key: tuple[int | str, ...], levels: np.ndarray, S: int, q: int) -> np.ndarray:
    """Standard normal numbers of some levels, (k, S, q), the same whichever levels are requested together."""
    runs = np.split(levels, np.flatnonzero(np.diff(levels) != 1) + 1)
    found = [row_uniforms(key, int(run[0]), int(run[-1]) + 1, S * q) for run in runs if len(run)]
    return ndtri(np.concatenate(found)).reshape(len(levels), S, q) if found else np.empty((0, S, q))


def draw_coefficients(
    density: CollapsedDensity,
    points: Points,
    names: list[str],
    seed: int,
    advance: Callable[[int], None] = lambda n: None,
    *,
    common: np.ndarray | None = None,
) -> Coefficients:
    """Draw common effects and the later factors' effects.

    `advance` is called with the number of points after every chunk; `common` receives the means and packed covariances
    of the common effects at the points.
    """
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
        if common is not None:
            common[:, some] = np.vstack(density.residual.moments(factorised.G, points.s[some]))
        drawn = density.residual.draw(factorised.G, points.s[some], z_gamma[:, draws], which)
        gamma_mean[:, draws], gamma[:, draws] = drawn
        if columns.m:
            # the conditional mean is a draw without noise
            z = [np.concatenate([n[..., draws], np.zeros_like(n[..., draws])], axis=2) for n in z_later]
            both = np.hstack([gamma[:, draws], gamma_mean[:, draws]])
            b = columns.join(factorised.draw(both, np.exp(np.tile(s, 2)), z, np.tile(which, 2)))
            later[:, draws], later_mean[:, draws] = np.hsplit(b, 2)
        advance(some.stop - some.start)
    return Coefficients(gamma, gamma_mean, later, later_mean)


def later_effects(density: CollapsedDensity, values: np.ndarray) -> dict[int, np.ndarray]:
    """Effects of the later factors on the user's scale, by the factor's position: (q, J, ...) from columns (m, ...)."""
    columns = density.elimination.first.columns
    by_factor = zip(columns.factors, columns.split(values), strict=True)
    return {f: density.units.group_effects(f, mine) for f, mine in by_factor}
