"""Variance of the linear predictor over the posterior, from covariances of coefficients: no row visits the draws.

With c = (Intercept, beta, b_1, b_2, ...), the coefficients that multiply a row (1, x, z_1, z_2, ...),

    Var(eta) = sum over pairs of these blocks of row' Cov(block, block) row.

Covariances are those over the draws; where effects are not stored and the engine knows exact moments given a draw's
covariances, they follow from these by the law of total variance, and no effect is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from bayesmixed.chunks import allowed, at_once, chunks
from bayesmixed.design.factors import GroupFactor
from bayesmixed.design.spec import Design
from bayesmixed.posterior.draws import Draws
from bayesmixed.posterior.parts import Parts
from bayesmixed.prediction.new_groups import NewLevels, is_new


def linear_variance(draws: Draws, design: Design, new_levels: Mapping[str, NewLevels]) -> np.ndarray:
    """Variance of the linear predictor, (n,), with new levels at their expectations given the draw."""
    exact = draws.state.coefficients if draws.lazy and draws.state is not None else None
    result = np.empty(design.n_rows)
    by_draws = np.ones(design.n_rows, dtype=bool)
    if exact is not None:
        by_draws = expected_varies(design, new_levels)
        rows = np.flatnonzero(~by_draws)
        result[rows] = exact.linear_predictor(design, rows, Parts.whole(draws).label)[1][:, 0]
    if by_draws.any():
        result[by_draws] = covariance_over_draws(draws, design, new_levels, np.flatnonzero(by_draws))
    return result


def expected_varies(design: Design, new_levels: Mapping[str, NewLevels]) -> np.ndarray:
    """Rows with a new level whose expectation differs between draws, or does not exist."""
    found = np.zeros(design.n_rows, dtype=bool)
    for factor in design.groups:
        if new_levels[factor.name].mode in ("donor", "nan"):
            found |= is_new(factor)
    return found


def covariance_over_draws(
    draws: Draws, design: Design, new_levels: Mapping[str, NewLevels], rows: np.ndarray
) -> np.ndarray:
    """Variance over the draws of some rows' linear predictors, (len(rows),)."""
    S = draws.size
    common, x = [np.empty((S, 0))], [np.empty((len(rows), 0))]
    if design.has_intercept:
        common.append(draws.flat("Intercept")[:, None])
        x.append(np.ones((len(rows), 1)))
    if design.common_names:
        common.append(draws.flat("beta"))
        x.append(design.X[rows])
    C, columns = _centred(np.hstack(common)), np.hstack(x)
    variance = np.einsum("ni,ij,nj->n", columns, C.T @ C / S, columns)
    largest = max(design.groups, key=lambda factor: len(factor.levels), default=None)
    for mine in _by_level(largest, rows, S):
        blocks = [_Block.of(draws, factor, new_levels[factor.name], rows[mine]) for factor in design.groups]
        for at, block in enumerate(blocks):
            with_common = np.einsum("sc,skq->kcq", C, block.b, optimize=True) / S
            own = np.einsum("skq,skr->kqr", block.b, block.b) / S
            variance[mine] += 2 * np.einsum("nc,ncq,nq->n", columns[mine], with_common[block.place], block.z)
            variance[mine] += np.einsum("nq,nqr,nr->n", block.z, own[block.place], block.z)
            for other in blocks[:at]:
                variance[mine] += 2 * block.with_other(other)
    return np.maximum(variance, 0.0)


class _Block:
    """Effects of one factor in some rows."""

    def __init__(self, z: np.ndarray, place: np.ndarray, b: np.ndarray) -> None:
        self.z = z  # (n, q)
        self.place = place  # (n,)
        self.b = b  # (S, k, q), centred

    @classmethod
    def of(cls, draws: Draws, factor: GroupFactor, new: NewLevels, rows: np.ndarray) -> _Block:
        codes = factor.codes[rows]
        unknown = is_new(factor)[rows]
        levels, known_place = np.unique(codes[~unknown], return_inverse=True)
        b, place = draws.effects(factor.name, levels), np.full(len(rows), len(levels))
        place[~unknown] = known_place
        if unknown.any():  # all new levels share one expectation
            b = np.concatenate([b, new.expected()[:, None]], axis=1)
        return cls(factor.Z[rows], place, _centred(b))

    def with_other(self, other: _Block) -> np.ndarray:
        """Covariance of two factors' contributions to the linear predictor, (n,)."""
        keys = self.place.astype(np.int64) * other.b.shape[1] + other.place
        pairs, place = np.unique(keys, return_inverse=True)
        mine, theirs = np.divmod(pairs, other.b.shape[1])
        (S, _, q), r = self.b.shape, other.b.shape[2]
        covariance = np.empty((len(pairs), q, r))
        first, second = np.ascontiguousarray(self.b.transpose(1, 2, 0)), other.b.transpose(1, 0, 2)
        for some in chunks(len(pairs), S * max(q, r), allowed().working):
            covariance[some] = first[mine[some]] @ second[theirs[some]] / S
        return np.einsum("nq,nqr,nr->n", self.z, covariance[place], other.z)


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean(axis=0)


def _by_level(factor: GroupFactor | None, rows: np.ndarray, n_draws: int) -> Iterator[np.ndarray]:
    """Positions of rows whose levels' draws fit in memory together."""
    if factor is None:
        return
    codes = np.where(is_new(factor), len(factor.levels), factor.codes)[rows]
    order = np.argsort(codes, kind="stable")
    level = np.cumsum(np.diff(codes[order], prepend=-1) != 0)
    together = at_once(n_draws * factor.Z.shape[1], allowed().working)
    yield from np.split(order, np.flatnonzero(np.diff(level // together)) + 1)
