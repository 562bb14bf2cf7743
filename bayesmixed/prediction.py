"""Predictions as plain arithmetic on the draws: means, standard deviations, draws; new groups included.

The linear predictor of a row is ``Intercept + x'beta + offset + sum over factors of z'b[level]``. A level that
was not seen in fit has an effect by its factor's mode (`new_groups`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bayesmixed.design import Design, DesignSpec
from bayesmixed.draws import Draws
from bayesmixed.families import Family
from bayesmixed.keyed_random import row_uniforms
from bayesmixed.new_groups import is_new, new_covariance, new_effects

KINDS = ("response", "mean", "linear")
# numbers in one working array of the chunked pass over rows
_CHUNK = 2_000_000


@dataclass(frozen=True)
class Posterior:
    """All that predictions need.

    Attributes
    ----------
    draws : Draws
    spec : DesignSpec
    family : Family
    seed : int
        Of the fit: part of the key of every random number.
    """

    draws: Draws
    spec: DesignSpec
    family: Family
    seed: int


def mean(posterior: Posterior, design: Design, modes: Mapping[str, str]) -> np.ndarray:
    """Posterior mean of the response, shape (n,), under the identity link.

    The mean of a linear predictor is the linear predictor of the means, so no draw is visited; the means are exact
    where the sampler knows them. New levels: exactly 0 under ``"sample"`` and ``"zero"``, the mean over fitted levels
    under ``"donor"``.
    """
    draws = posterior.draws
    eta = np.zeros(design.n_rows) if design.offset is None else design.offset.copy()
    if design.has_intercept:
        eta += draws.mean("Intercept")
    if design.common_names:
        eta += design.X @ draws.mean("beta")
    for factor in design.groups:
        b = draws.mean(f"b_{factor.name}")
        of_new = {"donor": b.mean(axis=0), "nan": np.full(b.shape[1], np.nan)}.get(modes[factor.name])
        # the last row of the table serves all new levels
        table = np.vstack([b, np.zeros(b.shape[1]) if of_new is None else of_new])
        eta += np.sum(factor.Z * table[np.where(is_new(factor), len(b), factor.codes)], axis=1)
    return eta


def standard_deviation(posterior: Posterior, design: Design, modes: Mapping[str, str]) -> np.ndarray:
    """Predictive standard deviation of the response, shape (n,), under the identity link.

    Its square is E[sigma^2] + Var(eta) + E[z' Sigma z] for the new levels of each factor, where Sigma is the
    group covariance under ``"sample"`` and the covariance of the fitted levels' effects under ``"donor"``:
    the law of total variance over draws; no noise is drawn.
    """
    draws = posterior.draws
    auxiliary = {name: draws.flat(name) for name in posterior.family.auxiliary}
    noise = float(np.mean(posterior.family.variance(np.zeros(1), **auxiliary)))
    spread = np.zeros(design.n_rows)
    for factor in design.groups:
        if (new := is_new(factor)).any() and (covariance := new_covariance(draws, factor, modes)) is not None:
            spread[new] += np.einsum("ni,ij,nj->n", factor.Z[new], covariance, factor.Z[new])
    variance = np.empty(design.n_rows)
    every = np.arange(int(np.prod(draws.shape)))
    for rows in _chunks(design.n_rows, len(every)):
        variance[rows] = _linear(posterior, design, modes, rows, every, sampled=False).var(axis=0)
    return np.sqrt(noise + variance + spread)


def draw(posterior: Posterior, design: Design, modes: Mapping[str, str], kind: str, keep: np.ndarray) -> np.ndarray:
    """Draws of the response, of its mean, or of the linear predictor.

    Parameters
    ----------
    posterior : Posterior
    design : Design
    modes : dict of str to str
    kind : {"response", "mean", "linear"}
    keep : numpy.ndarray of int, shape (s,)
        The draws to use, counted through the chains.

    Returns
    -------
    numpy.ndarray of shape (s, n)
    """
    result = np.empty((len(keep), design.n_rows))
    total = int(np.prod(posterior.draws.shape))
    for rows in _chunks(design.n_rows, total):
        values = _linear(posterior, design, modes, rows, keep, sampled=True)
        if kind != "linear":
            values = posterior.family.link.inverse(values)
        if kind == "response":
            u = row_uniforms((posterior.seed, "noise"), rows.start, rows.stop, total)[:, keep].T
            auxiliary = {name: posterior.draws.flat(name)[keep, None] for name in posterior.family.auxiliary}
            values = posterior.family.quantile(u, values, **auxiliary)
        result[:, rows] = values
    return result


def thin(shape: tuple[int, int], n_draws: int | None) -> np.ndarray:
    """Positions within a chain of `n_draws` draws in all, evenly spread over draws and chains.

    Raises
    ------
    ValueError
        Unless `n_draws` is a multiple of the number of chains and at most the number of draws.
    """
    chains, per_chain = shape
    if n_draws is None:
        return np.arange(per_chain)
    if not isinstance(n_draws, (int, np.integer)) or n_draws < 1 or n_draws > chains * per_chain or n_draws % chains:
        raise ValueError(
            f"n_draws must be a multiple of the number of chains, {chains}, and at most {chains * per_chain}, "
            f"got {n_draws!r}."
        )
    wanted = n_draws // chains
    return np.arange(wanted) * per_chain // wanted


def _chunks(n_rows: int, n_draws: int) -> Iterator[slice]:
    step = max(1, _CHUNK // n_draws)
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def _linear(
    posterior: Posterior, design: Design, modes: Mapping[str, str], rows: slice, keep: np.ndarray, *, sampled: bool
) -> np.ndarray:
    """Linear predictor of some rows at the kept draws, shape (len(keep), rows).

    With ``sampled=False`` a new level has the mean of its effect given the draw: 0, or the mean over the
    fitted levels under ``"donor"``.
    """
    draws = posterior.draws
    eta = np.zeros((len(keep), rows.stop - rows.start))
    if design.offset is not None:
        eta += design.offset[rows]
    if design.has_intercept:
        eta += draws.flat("Intercept")[keep, None]
    if design.common_names:
        eta += draws.flat("beta")[keep] @ design.X[rows].T
    for factor in design.groups:
        codes, Z, new = factor.codes[rows], factor.Z[rows], is_new(factor, rows)
        known = np.flatnonzero(~new)
        levels, place = np.unique(codes[known], return_inverse=True)
        b = draws.effects(factor.name, levels)
        for k in range(Z.shape[1]):  # one effect at a time keeps the working memory at one (draws, rows) array
            eta[:, known] += b[keep[:, None], place, k] * Z[known, k]
        for row_set, effects in new_effects(draws, posterior.seed, factor, modes[factor.name], rows, sampled=sampled):
            eta[:, row_set] += effects[keep] @ Z[row_set].T
    return eta
