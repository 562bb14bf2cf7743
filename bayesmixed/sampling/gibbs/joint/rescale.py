"""Move standard deviations together with their effects, with the largest factor's effects integrated out."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import numpy as np

from bayesmixed.sampling.gibbs.chains import Chains, Move
from bayesmixed.sampling.gibbs.constants import LOG_SD
from bayesmixed.sampling.gibbs.model import covariance_log_prior


def rescale(chains: Chains, move: Move, without: Collection[int]) -> None:
    """Move the sds of all large factors but the last together with their effects; the update of w must follow.

    b_w and the shared effects are integrated out. If few rows distinguish b_g from b_w, sds drawn given effects hardly
    move. Here effects are in units of their sds, b_g = D u_g, and u_g stays fixed (Yu & Meng, 2011, To center or not
    to center: that is not the question, Journal of Computational and Graphical Statistics 20, 531-570). Factors at
    `without` are skipped, as another step moves them.
    """
    for g, conditional in enumerate(chains.arrangement.conditionals[:-1]):
        if g in without:
            continue
        sds = conditional.index[: conditional.factor.q]
        before, b, centre = chains.theta[sds], chains.effects(g), conditional.factor.centre[..., None]
        after = move(g, before, partial(scaled_log_density, chains, g))
        chains.place(g, b * np.exp(after - before)[:, None] - centre)
        chains.theta[sds] = after


def scaled_log_density(chains: Chains, g: int, points: np.ndarray) -> np.ndarray:
    """Log density, (C, N), of log sds of factor g, (q, C, N), with the effects scaled along."""
    arrangement, (q, C, N) = chains.arrangement, points.shape
    last, factor = len(arrangement.factors) - 1, arrangement.factors[g]
    inside = ((points > LOG_SD[0]) & (points < LOG_SD[1])).all(axis=0)
    sds = chains.theta[arrangement.conditionals[g].index[:q]][:, :, None]
    points = np.where(inside, points, sds)
    many = Chains(arrangement, chains.theta.repeat(N, axis=1), chains.s.repeat(N))
    many.theta[arrangement.conditionals[g].index[:q]] = points.reshape(q, C * N)
    scaled = (chains.effects(g)[..., None] * np.exp(points - sds)[:, None]).reshape(q, factor.J, C * N)
    for i in range(last):
        many.place(i, scaled - factor.centre[..., None] if i == g else chains.deviations[i].repeat(N, axis=2))
    values = arrangement.conditionals[last].log_density(many.given(last), many.point(last)[:, :, None])[:, 0]
    values = values + covariance_log_prior(arrangement.density.covariances, factor.position, many.theta)
    return np.where(inside, values.reshape(C, N), -np.inf)
