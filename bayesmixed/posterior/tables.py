"""Turn posterior draws into tidy tables for people to read, one row per parameter.

All tables have the columns in `NUMBERS`. ``mean`` is the exact posterior mean if the sampler knows it, and otherwise
that of the draws, as in predictions. ``sd`` is the posterior standard deviation, over draws with n - 1;
``lower`` and ``upper`` are the draws' quantiles ``(1 - coverage) / 2`` and ``(1 + coverage) / 2``; the rest is in
`bayesmixed.posterior.diagnostics`. Everything is on the user's scale. The index counts the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayesmixed.design.factors import GroupSpec
from bayesmixed.design.spec import DesignSpec
from bayesmixed.errors import quoted
from bayesmixed.posterior.diagnostics import convergence
from bayesmixed.posterior.draws import Draws, covariance_factor
from bayesmixed.posterior.posterior import Posterior

_RESIDUAL = "residual"  # a variable of one table only
NUMBERS = ("mean", "sd", "lower", "upper", "ess_bulk", "ess_tail", "r_hat")

Tails = tuple[float, float]


def common_effects(posterior: Posterior, coverage: float = 0.9) -> pd.DataFrame:
    """Tabulate the intercept, or the thresholds of an ordered response, and the common effects.

    Parameters
    ----------
    posterior : Posterior
    coverage : float, default=0.9
        Posterior probability of the interval, in (0, 1).

    Returns
    -------
    DataFrame of shape (p + 1, 8)
        Columns effect, mean, sd, lower, upper, ess_bulk, ess_tail, r_hat. The first row is the Intercept, at X = 0, or
        the first rows are the thresholds there; a model without either has p rows.

    Raises
    ------
    ValueError
        `coverage` is not in (0, 1).
    """
    return _described(posterior.draws, _common(posterior), tails(coverage))[["effect", *NUMBERS]]


def group_effects(posterior: Posterior, factor: str, coverage: float = 0.9) -> pd.DataFrame:
    """Tabulate the effects of one grouping factor: how much each of its levels differs from the average group.

    Parameters
    ----------
    posterior : Posterior
        Effects that are not stored are drawn, a few levels at a time.
    factor : str
    coverage : float, default=0.9
        Posterior probability of the interval, in (0, 1).

    Returns
    -------
    DataFrame of shape (n_levels * q, 10)
        Columns factor, level, effect, mean, sd, lower, upper, ess_bulk, ess_tail, r_hat; level by level, with the
        effects of a level one after the other. ``level`` holds the labels themselves; a level of ``a:b`` is a string.

    Raises
    ------
    ValueError
        An unknown factor, or `coverage` is not in (0, 1).
    """
    return _by_level(posterior.draws, posterior.spec.group(factor), tails(coverage), 0.0, 0.0)


def group_coefficients(posterior: Posterior, factor: str, coverage: float = 0.9) -> pd.DataFrame:
    """Tabulate the coefficients of each level of one grouping factor: common effect plus group effect.

    Parameters
    ----------
    posterior, factor, coverage
        As of `group_effects`, with its errors.

    Returns
    -------
    DataFrame of shape (n_levels * q, 10)
        As in `group_effects`, with a row for each effect of the factor. The sum is taken draw by draw; the common
        part is the Intercept or the common effect of the same name, and 0 if there is none: a model with thresholds,
        for example, has no Intercept.

    Raises
    ------
    ValueError
        Also where the common part and the bar code the same term differently, as in ``k + (0 + k | g)``.
    """
    draws, spec = posterior.draws, posterior.spec
    group, ends = spec.group(factor), tails(coverage)
    _check_coding(spec, group)
    q = len(group.effect_names)
    common, mean = np.zeros((draws.size, 1, q)), np.zeros(q)
    for k, effect in enumerate(group.effect_names):
        if effect == "Intercept" and "Intercept" in draws.values:
            common[:, 0, k], mean[k] = draws.flat("Intercept"), draws.mean("Intercept")
        elif effect in spec.common_names:
            at = spec.common_names.index(effect)
            common[:, 0, k], mean[k] = draws.flat("beta")[:, at], draws.mean("beta")[at]
    return _by_level(draws, group, ends, common, mean)


def _check_coding(spec: DesignSpec, group: GroupSpec) -> None:
    """Reject a sum of effects of different columns, when the common part and the bar code the same term differently."""
    common = spec.common.labels_of_terms
    for bar in group.bars:
        for term, labels in bar.labels_of_terms.items():
            if (ours := common.get(term, labels)) != labels:
                raise ValueError(
                    f"group_coefficients adds effects of the same columns, but the common effects have {quoted(ours)} "
                    f"where {group.name!r} has {quoted(labels)}. Write {quoted(sorted(term))} the same way on both "
                    "sides (in the same order, both with or both without an intercept), or use group_effects."
                )


def variance_components(
    posterior: Posterior, squares: Mapping[str, np.ndarray], response: float, coverage: float = 0.9
) -> pd.DataFrame:
    r"""Tabulate group sds, their correlations and the residual sd, with the shares of the variance.

    Parameters
    ----------
    posterior, coverage
        As of `common_effects`, with its errors.
    squares : dict of str to numpy.ndarray of shape (q, q)
        By factor: the mean of :math:`z z'` over the training rows, with their weights.
    response : float
        Mean of the response over the training rows, for residual variances that depend on it.

    Returns
    -------
    DataFrame
        Columns factor, component, effect, mean, sd, lower, upper, ess_bulk, ess_tail, r_hat, share. ``component`` is
        "sd", then "correlation" (``effect`` is a pair, ``Intercept:Days``), then "auxiliary" (``effect`` is another
        parameter of the family), then "residual" (``factor`` and ``effect`` are empty): the standard deviation of the
        response on the scale of the linear predictor, sigma where the response is normal there.

    Notes
    -----
    ``share`` is the posterior mean of a component's part of the variance that remains, on average over rows, when the
    common effects are known [1]_:

    .. math:: \sum_f E_\text{rows}[z_f' \Sigma_f z_f] + \sigma^2_\text{residual},
              \qquad E_\text{rows}[z' \Sigma z] = \sum_{kl} E_\text{rows}[z_k z_l] \Sigma_{kl}.

    The part of effect k is the sum over l: each covariance is split evenly between its two effects, so that the shares
    of the sd rows and of the residual add up to one. A share is negative where negative covariances outweigh the
    effect's own variance. It depends on where a slope's column has its zero; the sum over effects that may correlate
    does not. In a model with only group intercepts it is the intraclass correlation. Correlations have none (NaN).

    References
    ----------
    .. [1] Johnson (2014), Extension of Nakagawa & Schielzeth's R2GLMM to random slopes models, Methods in Ecology and
       Evolution 5(9), 944-946.
    """
    family, draws = posterior.family, posterior.draws
    auxiliary = {name: posterior.parameters[name] for name in family.auxiliary}
    residual = np.sqrt(family.latent_variance(np.full(draws.size, response), **auxiliary)).reshape(draws.shape)
    draws = replace(draws, values=draws.values | {_RESIDUAL: residual})
    own = () if family.collapses else _last(posterior)  # sigma is the residual sd if the response is normal
    variables = [
        *_covariances(posterior.spec),
        *(_Variable(name, "", "auxiliary", (name,)) for name in own),
        _Variable(_RESIDUAL, "", "residual", ("",)),
    ]
    table = _described(draws, variables, tails(coverage))[["factor", "component", "effect", *NUMBERS]]
    shares = _shares(draws, posterior.spec, squares)
    share = [shares.get(variable.name, np.full(len(variable.effects), np.nan)) for variable in variables]
    return table.assign(share=np.concatenate([np.empty(0), *share]))


def group_covariance(posterior: Posterior, factor: str, coverage: float = 0.9) -> pd.DataFrame:
    """Tabulate the covariance matrix of a factor's effects: its lower triangle including the diagonal, row by row.

    Parameters
    ----------
    posterior, factor, coverage
        As of `group_effects`, with its errors.

    Returns
    -------
    DataFrame of shape (q * (q + 1) / 2, 10)
        Columns factor, effect_1, effect_2, mean, sd, lower, upper, ess_bulk, ess_tail, r_hat. The covariance of two
        effects that are independent in the model is included, so that the table is a whole matrix: exactly 0, with NaN
        for ess_bulk, ess_tail and r_hat.
    """
    draws = posterior.draws
    group, ends = posterior.spec.group(factor), tails(coverage)
    row, column = np.tril_indices(len(group.effect_names))
    values = _covariance(draws, group)[:, row, column].reshape(*draws.shape, len(row))
    numbers = _numbers(values, values.mean(axis=(0, 1)), ends)
    names, block = np.array(group.effect_names), np.empty(len(group.effect_names), dtype=int)
    for k, effects in enumerate(group.blocks):
        block[list(effects)] = k
    numbers[NUMBERS.index("ess_bulk") :, block[row] != block[column]] = np.nan  # nothing to converge
    return _table({"factor": factor, "effect_1": names[row], "effect_2": names[column]}, numbers)


def summary(posterior: Posterior, coverage: float = 0.9) -> pd.DataFrame:
    """Tabulate every parameter except the group effects, as they are in the posterior.

    Parameters
    ----------
    posterior, coverage
        As of `common_effects`, with its errors.

    Returns
    -------
    DataFrame
        Columns variable, factor, effect, mean, sd, lower, upper, ess_bulk, ess_tail, r_hat. ``variable`` is the name in
        the posterior: Intercept (or thresholds), beta, sd_<factor>, corr_<factor>, sigma, in this order. ``factor`` is
        empty for common effects and sigma.
    """
    auxiliary = [_Variable(name, "", "auxiliary", ("",)) for name in _last(posterior)]
    variables = _common(posterior) + _covariances(posterior.spec) + auxiliary
    return _described(posterior.draws, variables, tails(coverage))[["variable", "factor", "effect", *NUMBERS]]


class _Variable(NamedTuple):
    """A variable of the posterior, and what tables call it and its entries."""

    name: str
    factor: str
    component: str
    effects: tuple[str, ...]


def _common(posterior: Posterior) -> list[_Variable]:
    spec, family = posterior.spec, posterior.family
    first, _ = family.variables(spec.has_intercept)
    found = [
        _Variable(name, "", "common", tuple(family.coordinates[dims[0]]) if dims else (name,))
        for name, dims in first.items()
    ]
    return found + ([_Variable("beta", "", "common", spec.common_names)] if spec.common_names else [])


def _last(posterior: Posterior) -> tuple[str, ...]:
    """The family's parameters in the posterior."""
    return tuple(posterior.family.variables(posterior.spec.has_intercept)[1])


def _covariances(spec: DesignSpec) -> list[_Variable]:
    return [
        *(_Variable(f"sd_{g.name}", g.name, "sd", g.effect_names) for g in spec.groups),
        *(_Variable(f"corr_{g.name}", g.name, "correlation", g.pair_names) for g in spec.groups if g.pairs),
    ]


def _described(draws: Draws, variables: list[_Variable], ends: Tails) -> pd.DataFrame:
    """Columns variable, factor, component, effect, and the numbers."""
    rows = [(v.name, v.factor, v.component, effect) for v in variables for effect in v.effects]
    # a model may have no variable of this kind: its table has no rows
    labels = np.array(rows, dtype=str).reshape(-1, 4).T
    values = [np.empty((*draws.shape, 0))] + [draws.values[v.name].reshape(*draws.shape, -1) for v in variables]
    means = [np.empty(0)] + [np.ravel(draws.mean(v.name)) for v in variables]
    numbers = _numbers(np.concatenate(values, axis=2), np.concatenate(means), ends)
    return _table(dict(zip(("variable", "factor", "component", "effect"), labels, strict=True)), numbers)


def _by_level(
    draws: Draws, group: GroupSpec, ends: Tails, common: np.ndarray | float, common_mean: np.ndarray | float
) -> pd.DataFrame:
    """Rows level x effect of group effects plus a common part, (chain * draw, 1, q), and its means, (q,)."""
    n_levels, q = len(group.levels), len(group.effect_names)
    mean = draws.mean(f"b_{group.name}") + common_mean
    numbers = np.empty((len(NUMBERS), n_levels, q))
    for levels, b in draws.all_effects(group):
        values = (b + common).reshape(*draws.shape, -1)
        numbers[:, levels] = _numbers(values, mean[levels].ravel(), ends).reshape(len(NUMBERS), -1, q)
    labels = {"level": np.repeat(group.levels, q), "effect": np.tile(group.effect_names, n_levels)}
    return _table({"factor": group.name, **labels}, numbers.reshape(len(NUMBERS), -1))


def _numbers(values: np.ndarray, mean: np.ndarray, ends: Tails) -> np.ndarray:
    """The numbers of a table, (7, k), of draws (chain, draw, k) and their means, (k,)."""
    chains, n_draws, k = values.shape
    flat = values.reshape(chains * n_draws, k)
    sd = flat.std(axis=0, ddof=1) if len(flat) > 1 else np.full(k, np.nan)
    found = convergence(values)
    return np.stack([mean, sd, *np.quantile(flat, ends, axis=0), found.ess_bulk, found.ess_tail, found.r_hat])


def _table(labels: Mapping[str, Any], numbers: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({**labels, **dict(zip(NUMBERS, numbers, strict=True))})


def _covariance(draws: Draws, group: GroupSpec) -> np.ndarray:
    """Covariance of a factor's effects at every draw, (chain * draw, q, q)."""
    L = covariance_factor(draws, group)
    return np.einsum("sik,sjk->sij", L, L)


def _shares(draws: Draws, spec: DesignSpec, squares: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mean over draws of each part of the variance, by variable: see `variance_components`."""
    parts = {
        f"sd_{group.name}": np.sum(squares[group.name] * _covariance(draws, group), axis=2) for group in spec.groups
    }
    parts[_RESIDUAL] = np.square(draws.flat(_RESIDUAL))[:, None]
    total = sum(part.sum(axis=1, keepdims=True) for part in parts.values())
    return {name: np.mean(part / total, axis=0) for name, part in parts.items()}


def tails(coverage: float) -> tuple[float, float]:
    """Probabilities below the two ends of an equal-tailed interval.

    Raises
    ------
    ValueError
        Unless `coverage` is in (0, 1).
    """
    if not (isinstance(coverage, Real) and 0 < coverage < 1):
        raise ValueError(f"coverage must be a number in (0, 1), such as 0.9 for 90 % intervals, got {coverage!r}.")
    return (1 - float(coverage)) / 2, (1 + float(coverage)) / 2
