"""Convergence of Markov chains: rank-normalised split R-hat, bulk and tail effective sample size.

Vectorised over parameters in NumPy, because importing ArviZ costs seconds; tests hold the numbers against
ArviZ. Everything follows Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), Rank-normalization, folding,
and localization: an improved R-hat for assessing convergence of MCMC, Bayesian Analysis 16, 667-718,
cited below by equation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri
from scipy.stats import rankdata

# so many parameters at a time, to bound the working memory
_CHUNK = 64


@dataclass(frozen=True)
class Convergence:
    """Diagnostics of one variable; the arrays have the variable's shape without (chain, draw)."""

    r_hat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray


def convergence(draws: np.ndarray) -> Convergence:
    """R-hat and effective sample sizes.

    Parameters
    ----------
    draws : numpy.ndarray of shape (chain, draw, ...)

    Returns
    -------
    Convergence
        NaN for a parameter with draws that are not finite, or with fewer than 4 draws per chain. For a
        constant one, R-hat is NaN and the sample sizes are the number of draws.
    """
    chains, n_draws, *shape = draws.shape
    flat = draws.reshape(chains, n_draws, -1)
    results = np.full((3, flat.shape[2]), np.nan)
    if n_draws >= 4:
        for start in range(0, flat.shape[2], _CHUNK):
            # one parameter's draws side by side in memory: (parameter, chain, draw)
            chunk = np.ascontiguousarray(np.moveaxis(flat[:, :, start : start + _CHUNK], 2, 0))
            results[:, start : start + _CHUNK] = _convergence(chunk)
    return Convergence(*results.reshape(3, *shape))


def _convergence(draws: np.ndarray) -> np.ndarray:
    """R-hat, bulk and tail ESS of draws of shape (parameter, chain, draw); returns (3, parameter)."""
    finite = np.isfinite(draws).all(axis=(1, 2))
    draws = np.where(finite[:, None, None], draws, 0.0)
    split = _split(draws)
    scores = _normal_scores(split)
    # folded draws show differences in scale (section 4.2)
    folded = _normal_scores(np.abs(split - np.median(split, axis=(1, 2), keepdims=True)))
    r_hat = np.maximum(_r_hat(scores), _r_hat(folded))
    quantiles = np.quantile(draws, [0.05, 0.95], axis=(1, 2), keepdims=True)
    # tail ESS: the worse of the two quantiles' indicator (section 4.3)
    tails = [_ess(_split((draws <= quantile).astype(float))) for quantile in quantiles]
    return np.where(finite, [r_hat, _ess(scores), np.minimum(*tails)], np.nan)


def _split(draws: np.ndarray) -> np.ndarray:
    """Halve each chain; of an odd number of draws the middle one goes."""
    half = draws.shape[2] // 2
    return np.concatenate([draws[:, :, :half], draws[:, :, -half:]], axis=1)


def _normal_scores(draws: np.ndarray) -> np.ndarray:
    """Normal quantiles of the fractional ranks over all chains, equation (14)."""
    ranks = rankdata(draws.reshape(len(draws), -1), axis=1).reshape(draws.shape)
    return ndtri((ranks - 3 / 8) / (draws[0].size + 1 / 4))


def _r_hat(draws: np.ndarray) -> np.ndarray:
    n = draws.shape[2]
    within = draws.var(axis=2, ddof=1).mean(axis=1)  # W, equation (2)
    between = n * draws.mean(axis=2).var(axis=1, ddof=1)  # B, equation (1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt((between / within + n - 1) / n)  # equations (3) and (4)


def _ess(draws: np.ndarray) -> np.ndarray:
    """Effective sample size, equations (9) to (13); shape (parameter,)."""
    _, chains, n = draws.shape
    autocovariance = _autocovariance(draws).mean(axis=1)
    within = autocovariance[:, 0] * n / (n - 1)
    pooled = within * (n - 1) / n + (draws.mean(axis=2).var(axis=1, ddof=1) if chains > 1 else 0.0)
    constant = np.ptp(draws, axis=(1, 2)) < np.finfo(float).resolution
    with np.errstate(divide="ignore", invalid="ignore"):
        # combined autocorrelation, equation (10)
        rho = 1 - (within[:, None] - autocovariance) / pooled[:, None]
    rho[:, 0] = 1.0
    tau = _autocorrelation_time(np.where(constant[:, None], 0.0, rho))
    total = chains * n
    tau = np.maximum(tau, 1 / np.log10(total))  # antithetic chains: section 3.2
    return np.where(constant, float(total), total / tau)


def _autocorrelation_time(rho: np.ndarray) -> np.ndarray:
    """Geyer's initial monotone sequence: sum rho in pairs while the pairs are positive and do not grow.

    Parameters
    ----------
    rho : numpy.ndarray of shape (parameter, lag)
    """
    last = len(range(1, rho.shape[1] - 3, 2))  # the last pair that is looked at
    even = rho[:, 0 : 2 * last + 1 : 2]
    pairs = even + rho[:, 1 : 2 * last + 2 : 2]
    stopped = pairs <= 0
    stop = np.where(stopped.any(axis=1), stopped.argmax(axis=1), last)
    kept = np.arange(last + 1) < stop[:, None]
    monotone = np.minimum.accumulate(np.where(kept, pairs, np.inf), axis=1)
    # of the pair that ends the sum, a positive even lag still counts (as in Stan and ArviZ)
    rows = np.arange(len(rho))
    end = even[rows, stop]
    end = np.where(pairs[rows, stop] >= 0, end, np.maximum(end, 0.0))
    return -1 + 2 * np.where(kept, monotone, 0.0).sum(axis=1) + end


def _autocovariance(draws: np.ndarray) -> np.ndarray:
    """Biased autocovariance along draws, by FFT."""
    n = draws.shape[2]
    centred = draws - draws.mean(axis=2, keepdims=True)
    size = next_fast_len(2 * n, real=True)
    spectrum = rfft(centred, size, axis=2)
    return irfft(np.square(spectrum.real) + np.square(spectrum.imag), size, axis=2)[:, :, :n] / n
