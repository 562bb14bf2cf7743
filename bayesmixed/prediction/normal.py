"""Quantiles where the linear predictor is normal, with known moments, given a draw's covariances and noise.

The posterior of a linear predictor, and of a normal response, is then a mixture of normal distributions over the draws
of the covariances only; no effect is drawn. Neighbouring draws of the covariances have nearly the same component, so a
part of them (`Parts`) becomes one component, with the part's mean and variance by the laws of total expectation and
variance: the mixture keeps the mean and variance of the one over all draws, and its error is of third order in the
scatter within parts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bayesmixed.chunks import allowed, chunks
from bayesmixed.design.spec import Design
from bayesmixed.posterior.draws import CoefficientMoments
from bayesmixed.posterior.parts import Parts
from bayesmixed.posterior.posterior import Posterior
from bayesmixed.prediction.mixture import GAUSSIAN, mixture_quantiles
from bayesmixed.prediction.new_groups import NewLevels, is_new

# Components of the mixture, chosen by the largest error over rows, against 160,000 draws, of quantiles from 0.005 to
# 0.995 for models of 4 to 30 groups and sleepstudy: with 64, rows far outside the data were worse at the ends than a
# mixture over 4,000 draws of effects; with 256 none is, at a tenth of its time, and the remaining error is mostly that
# of the covariances' draws
_PARTS = 256
# How much more the noise counts than group standard deviations when draws are partitioned: components of known groups
# differ by the noise, those of new ones by the standard deviations
_NOISE_OF_KNOWN, _NOISE_OF_NEW = 3.0, 1.0


def normal_quantiles(
    posterior: Posterior,
    exact: CoefficientMoments,
    design: Design,
    new_levels: Mapping[str, NewLevels],
    *,
    rows: np.ndarray,
    kind: str,
    p: np.ndarray,
) -> np.ndarray:
    """Posterior quantiles of the response, of its mean, or of the linear predictor.

    Parameters
    ----------
    posterior : Posterior
    exact : CoefficientMoments
        Of its draws.
    design : Design
    new_levels : dict of str to NewLevels
    rows : numpy.ndarray of int, shape (n,)
    kind : {"response", "mean", "linear"}
    p : numpy.ndarray of shape (k,)
        Probabilities.

    Returns
    -------
    numpy.ndarray of shape (n, k)
    """
    result = np.empty((len(rows), len(p)))
    sampled = np.zeros(len(rows), dtype=bool)
    for factor in design.groups:
        if new_levels[factor.name].mode == "sample":
            sampled |= is_new(factor, rows)
    for which, noise in ((~sampled, _NOISE_OF_KNOWN), (sampled, _NOISE_OF_NEW)):
        at = np.flatnonzero(which)
        if not len(at):
            continue
        for factor in design.groups:  # rows of a level are adjacent
            at = at[np.argsort(factor.codes[rows[at]], kind="stable")]
        parts = posterior.parts(_PARTS, noise)
        for chunk in chunks(len(at), len(parts.weights), allowed().predictions):
            some = at[chunk]
            mean, variance = _moments(posterior, exact, design, new_levels, rows=rows[some], parts=parts, kind=kind)
            result[some] = mixture_quantiles(GAUSSIAN, mean, {"sigma": np.sqrt(variance)}, p, parts.weights)
    return posterior.family.from_working(result) if kind == "response" else result


def _moments(
    posterior: Posterior,
    exact: CoefficientMoments,
    design: Design,
    new_levels: Mapping[str, NewLevels],
    *,
    rows: np.ndarray,
    parts: Parts,
    kind: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each component, (n, K)."""
    mean, variance = exact.linear_predictor(design, rows, parts.label)
    for new in new_levels.values():
        variance += new.variance_over(rows, parts)
    if kind == "response":
        auxiliary = {name: posterior.draws.flat(name) for name in posterior.family.auxiliary}
        variance += parts.mean(posterior.family.latent_variance(np.zeros(len(parts.label)), **auxiliary))
    return mean, variance
