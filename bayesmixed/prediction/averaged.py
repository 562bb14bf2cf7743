"""Mean, class probabilities and standard deviation of a response whose mean is not its linear predictor.

Each is an average over the draws.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bayesmixed.errors import warn
from bayesmixed.families.base import ClassFamily
from bayesmixed.posterior.diagnostics import pareto_k
from bayesmixed.prediction.linear import Predictors

_K_HAT = 0.7  # Vehtari et al. (2024), section 3.2.3: an average of draws with a heavier tail does not converge


def averaged_mean(predictors: Predictors) -> np.ndarray:
    """Mean over the draws of the response's mean, (n,), with the normal effects of new levels integrated out at each.

    Warns
    -----
    UserWarning
        Pareto k-hat of the draws of some row's mean exceeds 0.7: the mean may not exist.
    """
    predictors, place = predictors.distinct()
    family, every = predictors.posterior.family, predictors.every
    result, widest, spread = np.empty(predictors.design.n_rows), None, 1.0
    for rows in predictors.chunks(len(every)):
        with np.errstate(over="ignore"):  # a mean beyond the largest double is infinite, and warned of below
            mu = _integrated(predictors, rows, family.mean, family.marginal_mean)
            result[rows] = mu.mean(axis=1)
        with np.errstate(invalid="ignore"):  # for rows without a prediction
            wide = np.nan_to_num(mu.max(axis=1) / result[rows], nan=0.0)  # means dominated by their largest draw
        wide[np.isinf(result[rows])] = np.inf
        if wide.max(initial=0.0) > spread:
            spread, widest = wide.max(), mu[wide.argmax()]
    if widest is None or family.link.bounded:
        return result[place]
    k_hat = pareto_k(np.log(widest)) if np.isfinite(widest).all() else np.inf
    if k_hat > _K_HAT:
        warn(
            f"Pareto k-hat of the draws of a predicted mean is {k_hat:.2f} (above {_K_HAT}): the mean may not exist, "
            "as that of exp(eta) does not if a standard deviation has a long tail. Use the median, "
            "predict_quantiles(X, 0.5), and predict_interval."
        )
    return result[place]


def averaged_probabilities(predictors: Predictors, family: ClassFamily) -> np.ndarray:
    """Probability of each class, (n, K): mean over the draws, with the normal effects of new levels integrated out."""
    predictors, place = predictors.distinct()
    result = np.empty((predictors.design.n_rows, len(family.classes)))
    for rows in predictors.chunks(len(predictors.every) * len(family.classes)):
        p = _integrated(predictors, rows, family.class_probabilities, family.marginal_class_probabilities)
        result[rows] = p.mean(axis=2).T
    return result[place]


def _integrated(
    predictors: Predictors, rows: np.ndarray, of: Callable[..., np.ndarray], marginal: Callable[..., np.ndarray]
) -> np.ndarray:
    """A function of the linear predictor at every draw, (..., rows, S), new levels' normal effects integrated out."""
    every = predictors.every
    eta, auxiliary = predictors.at(rows, every, "integrated"), predictors.auxiliary(rows, every)
    values, variance = of(eta, **auxiliary), predictors.new_variance(rows)
    if (new := variance.any(axis=1)).any():
        of_new = {name: own if own.ndim == 1 else own[new] for name, own in auxiliary.items()}
        values[..., new, :] = marginal(eta[new], variance[new], **of_new)
    return values


def averaged_deviation(predictors: Predictors) -> np.ndarray:
    """Standard deviation of the response, (n,): the law of total variance over draws of the linear predictor.

    The effects of new levels are drawn.
    """
    result = np.empty(predictors.design.n_rows)
    family, every = predictors.posterior.family, predictors.every
    for rows in predictors.chunks(len(every)):
        eta, auxiliary = predictors.at(rows, every, "drawn"), predictors.auxiliary(rows, every)
        with np.errstate(over="ignore", invalid="ignore"):  # infinite means have no variance about their mean
            mu = family.mean(eta, **auxiliary)
            variance = mu.var(axis=1) + family.variance(eta, **auxiliary).mean(axis=1)
        variance[np.isinf(mu).any(axis=1)] = np.inf
        result[rows] = np.sqrt(variance)
    return result
