"""Predictions by plain arithmetic on the draws: means, standard deviations, draws, quantiles, also for new groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np

from bayesmixed.design.factors import GroupFactor
from bayesmixed.design.spec import Design
from bayesmixed.errors import quoted, warn
from bayesmixed.families.base import ClassFamily
from bayesmixed.keyed_random import row_uniforms
from bayesmixed.posterior.posterior import Posterior
from bayesmixed.prediction.averaged import averaged_deviation, averaged_mean, averaged_probabilities
from bayesmixed.prediction.linear import Predictors
from bayesmixed.prediction.mixture import mixture_quantiles
from bayesmixed.prediction.new_groups import How, NewLevels, is_new, new_covariance
from bayesmixed.prediction.normal import normal_quantiles
from bayesmixed.prediction.spread import expected_varies, linear_variance

KINDS = ("response", "mean", "linear")
_LARGEST = np.finfo(float).max


def mean(posterior: Posterior, design: Design, modes: Mapping[str, str]) -> np.ndarray:
    """Posterior mean of the response, shape (n,).

    If the mean is the linear predictor, no draw is visited: the mean of a linear predictor is the linear predictor of
    the means, which are exact where the sampler knows them. Effects of new levels are exactly 0 under ``"sample"`` and
    ``"zero"``, the mean over fitted levels under ``"donor"``. Otherwise the mean is averaged over the draws, and at
    each of them over the population of new levels.
    """
    if not posterior.family.linear:
        return averaged_mean(Predictors(posterior, design, modes))
    return linear_mean(posterior, design, modes)


def class_probabilities(posterior: Posterior, design: Design, modes: Mapping[str, str]) -> np.ndarray:
    """Posterior probability of each class, (n, K), averaged over the draws and over the population of new levels."""
    family = cast(ClassFamily, posterior.family)
    return averaged_probabilities(Predictors(posterior, design, modes), family)


def linear_mean(posterior: Posterior, design: Design, modes: Mapping[str, str]) -> np.ndarray:
    """Posterior mean of the linear predictor, shape (n,); for ordered responses, without the thresholds."""
    draws = posterior.draws
    eta = np.zeros(design.n_rows) if design.offset is None else design.offset.copy()
    if "Intercept" in draws.values:
        eta += draws.mean("Intercept")
    if design.common_names:
        eta += design.X @ draws.mean("beta")
    for factor in design.groups:
        new = is_new(factor)
        levels, place = np.unique(factor.codes[~new], return_inverse=True)
        b = np.zeros(factor.Z.shape)
        b[~new] = draws.effect_means(factor.name, levels)[place]
        if new.any() and modes[factor.name] in ("donor", "nan"):
            b[new] = draws.mean(f"b_{factor.name}").mean(axis=0) if modes[factor.name] == "donor" else np.nan
        eta += np.sum(factor.Z * b, axis=1)
    return eta


def standard_deviation(posterior: Posterior, design: Design, modes: Mapping[str, str]) -> np.ndarray:
    """Predictive standard deviation of the response, shape (n,).

    If the mean is the linear predictor, its square is E[sigma^2] + Var(eta) + E[z' Sigma z] for the new levels of
    each factor, where Sigma is the group covariance under ``"sample"`` and the covariance of the fitted levels' effects
    under ``"donor"``: the law of total variance over draws; no noise is drawn. Var(eta) is exact given the covariances'
    draws where effects are not stored (`spread`), otherwise that of the draws. In other models the effects of new
    levels are drawn.
    """
    draws = posterior.draws
    if not posterior.family.linear:
        return averaged_deviation(Predictors(posterior, design, modes))
    auxiliary = {name: draws.flat(name) for name in posterior.family.auxiliary}
    noise = float(np.mean(posterior.family.variance(np.zeros(1), **auxiliary)))
    spread = np.zeros(design.n_rows)
    for factor in design.groups:
        if (new := is_new(factor)).any() and (covariance := new_covariance(draws, factor, modes)) is not None:
            spread[new] += np.einsum("ni,ij,nj->n", factor.Z[new], covariance, factor.Z[new])
    variance = linear_variance(draws, design, Predictors(posterior, design, modes).new_levels)
    return np.sqrt(noise + variance + spread)


def draw(posterior: Posterior, design: Design, modes: Mapping[str, str], kind: str, keep: np.ndarray) -> np.ndarray:
    """Draws of the response, of its mean, or of the linear predictor as given by `Predictors.linear`.

    Parameters
    ----------
    posterior : Posterior
    design : Design
    modes : dict of str to str
    kind : {"response", "mean", "linear"}
    keep : numpy.ndarray of int, shape (s,)
        The draws to use, numbered across the chains.

    Returns
    -------
    numpy.ndarray of shape (s, n), or (s, n, K)
        The mean of a response that has one per class.
    """
    shape = posterior.family.mean_shape if kind == "mean" else ()
    result, finite = np.empty((len(keep), design.n_rows, *shape)), np.empty(design.n_rows, dtype=bool)
    family, predictors = posterior.family, Predictors(posterior, design, modes)
    total = len(predictors.every)
    for rows in predictors.chunks((total if kind == "response" else len(keep)) * max(shape, default=1)):
        at = predictors.linear if kind == "linear" else predictors.at
        with _may_overflow():
            values, auxiliary = at(rows, keep, "drawn"), predictors.auxiliary(rows, keep)
            if kind == "mean":
                values = family.mean(values, **auxiliary)
            elif kind == "response":
                u = row_uniforms((posterior.seed, "noise"), int(rows[0]), int(rows[-1]) + 1, total)[:, keep]
                values = family.quantile(u, values, **auxiliary)
        result[:, rows] = values.T
        finite[rows] = np.isfinite(values).all(axis=(*range(values.ndim - 2), -1))  # of (n, s), or (K, n, s)
    _warn_of_overflow(posterior, design, modes, finite)
    return result


def quantiles(
    posterior: Posterior, design: Design, modes: Mapping[str, str], kind: str, probabilities: np.ndarray
) -> np.ndarray:
    """Posterior quantiles of the response, of its mean, or of the linear predictor.

    For those of the response, the noise and the normal effects of new levels are integrated out. Where the sampler
    knows exact moments of the coefficients, these too are integrated out, for all kinds (`normal`); otherwise the other
    kinds are quantiles of draws.

    Parameters
    ----------
    posterior : Posterior
    design : Design
    modes : dict of str to str
    kind : {"response", "mean", "linear"}
    probabilities : numpy.ndarray of shape (k,)
        In (0, 1).

    Returns
    -------
    numpy.ndarray of shape (n, k), or (n, K, k)
        The mean of a response that has one per class.
    """
    predictors, state, family = Predictors(posterior, design, modes), posterior.draws.state, posterior.family
    by_draws = np.ones(design.n_rows, dtype=bool)
    result = np.empty((design.n_rows, *(family.mean_shape if kind == "mean" else ()), len(probabilities)))
    # given a normal linear predictor, the response is normal too if it collapses; its mean, if that is the predictor
    normal = family.collapses and (kind != "mean" or family.linear)
    if normal and state is not None and (exact := state.coefficients) is not None:
        by_draws = expected_varies(design, predictors.new_levels)
        rows, new_levels = np.flatnonzero(~by_draws), predictors.new_levels
        with _may_overflow():
            result[rows] = normal_quantiles(posterior, exact, design, new_levels, rows=rows, kind=kind, p=probabilities)
    if by_draws.any():
        _quantiles_of_draws(predictors, which=by_draws, kind=kind, p=probabilities, to=result)
    finite = np.asarray(np.isfinite(result).all(axis=tuple(range(1, result.ndim))))
    _warn_of_overflow(posterior, design, modes, finite)
    return result


def _may_overflow() -> np.errstate:
    """Without NumPy's warnings: a prediction beyond the range of doubles is infinite, and warned of afterwards."""
    return np.errstate(over="ignore", divide="ignore", invalid="ignore")


def _warn_of_overflow(posterior: Posterior, design: Design, modes: Mapping[str, str], finite: np.ndarray) -> None:
    """Warn of rows whose predictions are not `finite`, bool (n,), unless they are to have none."""
    if finite.all():
        return
    with _may_overflow():
        rows = ~finite & ~np.isnan(linear_mean(posterior, design, modes))
    if rows.any():
        warn(
            f"predictions of {np.count_nonzero(rows)} of {len(rows)} rows are not finite: they, or their squares, are "
            f"beyond the range of floating-point numbers, ±{_LARGEST:.1e}. Check that the columns of X are in the "
            "units of the fit."
        )


def _quantiles_of_draws(predictors: Predictors, *, which: np.ndarray, kind: str, p: np.ndarray, to: np.ndarray) -> None:
    """Fill in the rows `which` of `to`, (n, k) or (n, K, k)."""
    family, every = predictors.posterior.family, predictors.every
    how: How = "integrated" if kind == "response" and family.collapses else "drawn"
    for chunk in predictors.chunks(len(every) * (to.size // max(1, len(to) * len(p)))):
        rows = chunk[which[chunk]]
        if not len(rows):
            continue
        at = predictors.linear if kind == "linear" else predictors.at
        with _may_overflow():
            values, auxiliary = at(rows, every, how), predictors.auxiliary(rows, every)
            if kind == "response":
                if how == "integrated" and np.any(variance := predictors.new_variance(rows)):
                    auxiliary = family.widened(variance, **auxiliary)
                to[rows] = mixture_quantiles(family, values, auxiliary, p)
            else:
                values = family.mean(values, **auxiliary) if kind == "mean" else values
                # NumPy's quantile between two infinite values is NaN
                found = np.quantile(np.clip(values, -_LARGEST, _LARGEST), p, axis=-1)
                to[rows] = np.where(np.abs(found) == _LARGEST, np.copysign(np.inf, found), found).T


def bayes_r2(posterior: Posterior, design: Design, modes: Mapping[str, str]) -> np.ndarray:
    """Bayesian R² of every draw, (S,): the variance of the mean over rows as a share of itself plus the noise variance.

    Gelman, Goodrich, Gabry & Vehtari (2019), R-squared for Bayesian regression models, The American Statistician 73,
    equation (3), with the model's residual variance.
    """
    family, predictors = posterior.family, Predictors(posterior, design, modes)
    if family.mean_shape:
        raise ValueError(f"bayes_r2 needs a response with a single mean, but family={family.name!r} has one per class.")
    every = predictors.every
    origin = mean(posterior, design, modes).mean()  # sums of squares about it do not suffer from cancellation
    total, square, noise = np.zeros((3, len(every)))
    for rows in predictors.chunks(len(every)):
        eta, auxiliary = predictors.at(rows, every, "drawn"), predictors.auxiliary(rows, every)
        mu = family.mean(eta, **auxiliary)
        noise += family.variance(eta, **auxiliary).sum(axis=0)
        total += (mu - origin).sum(axis=0)
        square += np.square(mu - origin).sum(axis=0)
    fit = np.maximum(square - np.square(total) / design.n_rows, 0.0) / (design.n_rows - 1)
    return fit / (fit + noise / design.n_rows)


def new_group_effects(
    posterior: Posterior, factor: GroupFactor, mode: str, keep: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Texts of a factor's new levels, and their effects in `draw`, (s, k, q)."""
    texts, effects = [], [np.empty((len(keep), 0, factor.Z.shape[1]))]
    for text, drawn in NewLevels(posterior.draws, posterior.seed, factor, mode).every_level():
        texts.append(text)
        effects.append(drawn[keep, None])
    return texts, np.concatenate(effects, axis=1)


def thin(shape: tuple[int, int], n_draws: int | None) -> np.ndarray:
    """Positions within each chain of `n_draws` draws in total, evenly spread over draws and chains.

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


def positions(shape: tuple[int, int], within: np.ndarray) -> np.ndarray:
    """Draws at positions `within` of every chain, numbered across the chains; shape (chains * len(within),)."""
    chains, per_chain = shape
    return (np.arange(chains)[:, None] * per_chain + within).ravel()


def check_kind(kind: str) -> None:
    """Reject an unknown kind of prediction."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {quoted(KINDS)}, got {kind!r}.")
