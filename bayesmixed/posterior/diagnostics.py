"""Convergence of Markov chains (rank-normalised split R-hat, effective sample sizes); Pareto k of weights.

Written in NumPy, vectorised over parameters, because importing ArviZ takes seconds; tests compare with ArviZ.

References
----------
Convergence, cited below by equation: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), Rank-normalization,
folding, and localization: an improved R-hat for assessing convergence of MCMC, Bayesian Analysis 16, 667-718.

Pareto k: Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance sampling, Journal of Machine
Learning Research 25(72), 1-58 (PSIS below); Zhang & Stephens (2009), A new and efficient estimation method for the
generalized Pareto distribution, Technometrics 51, 316-325.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import fdtri, ndtri, softmax

from bayesmixed.chunks import allowed, chunks

MIN_DRAWS = 4  # fewest draws per chain for R-hat
MANY = 100  # most parameters of a variable that are all diagnosed; of more, only the worst
_SUSPECTS = (20, 100)  # worst by each of `suspects`' scores, a tenth of the parameters: at least, at most
_TAIL = 1.645  # standard deviations from the median to the 5 % quantile, roughly
_FAR = 2.5  # standard deviations at which distances are cut off
_SAMPLE = 100  # draws of a chain that determine the spread
_LAGS = 14  # lags of an autocorrelation that are computed first: most sums end there
_SHORTEST_TAIL = 5  # fewest distinct weights in a tail that can be fitted


@dataclass(frozen=True)
class Convergence:
    """Diagnostics of one variable; the arrays have the variable's shape without (chain, draw)."""

    r_hat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray


def min_ess(shape: tuple[int, ...]) -> float:
    """Effective sample size below which draws of `shape` (chain, draw) are not trusted.

    400 (section 4.3), or a quarter of the draws if there are few, as in a quick look.
    """
    return min(400, shape[0] * shape[1] / 4)


def largest_r_hat(shape: tuple[int, ...], parameters: int) -> float:
    """Largest R-hat among many parameters above which draws of `shape` (chain, draw) are not trusted.

    1.01 (section 4.3) or, for few draws, what independent draws exceed in one fit in 1,000: the ratio of the variances
    between and within the m halves of chains, of n draws each, has the distribution F(m - 1, m (n - 1)), and R-hat^2 is
    1 + (ratio - 1) / n (equations (1) to (4)). Each parameter has two R-hats, of its ranks and of folded ranks.
    """
    m, n = 2 * shape[0], shape[1] // 2
    if n < 2:
        return np.inf  # there is no R-hat
    ratio = fdtri(m - 1, m * (n - 1), 1 - 1e-3 / (2 * max(parameters, 1)))
    return float(max(1.01, np.sqrt(1 + (ratio - 1) / n)))


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
    if n_draws >= MIN_DRAWS:
        score_of = _normal_scores(2 * chains * (n_draws // 2))
        for some in chunks(flat.shape[2], chains * n_draws, allowed().diagnosed):
            # one parameter's draws side by side in memory: (parameter, chain, draw)
            chunk = np.ascontiguousarray(np.moveaxis(flat[:, :, some], 2, 0))
            results[:, some] = _convergence(chunk, score_of)
    return Convergence(*results.reshape(3, *shape))


def suspects(draws: np.ndarray) -> np.ndarray:
    """Parameters that are likely to have the largest R-hat or the smallest effective sample sizes, by a quick check.

    A parameter's R-hat and sample sizes need a sort and three Fourier transforms of its draws. Variances of the means
    of short batches need neither; batches are taken of the draws, of their distances to the mean, and of the indicators
    of their tails.

    Parameters
    ----------
    draws : numpy.ndarray of shape (chain, draw, ...)

    Returns
    -------
    numpy.ndarray of int, shape (k,)
        Positions among the parameters, flattened; all of them unless there are many.
    """
    chains, n, *_ = draws.shape
    flat = draws.reshape(chains, n, -1)
    if flat.shape[2] <= MANY or n < MIN_DRAWS:
        return np.arange(flat.shape[2])
    scores = np.empty((5, flat.shape[2]))
    for some in chunks(flat.shape[2], chains * n, allowed().points):
        with np.errstate(divide="ignore", invalid="ignore"):
            scores[:, some] = _scores(flat[:, :, some])
    scores[np.isnan(scores)] = np.inf  # constant, or not finite
    worst = int(np.clip(flat.shape[2] // 10, *_SUSPECTS))
    return np.unique(np.argpartition(-scores, worst, axis=1)[:, :worst])


def _scores(draws: np.ndarray) -> np.ndarray:
    """For draws (chain, draw, parameter), numbers that grow with R-hat, its folded version, and the inverse ESS."""
    x = _bounded(draws)
    found, sizes = [], []
    for at, series in enumerate((x, np.abs(x), x < -_TAIL, x > _TAIL)):
        means = _batch_means(series)  # (half chain, batch, parameter)
        variance = _variance(series, at)
        if at < 2:
            found.append(means.mean(axis=1).var(axis=0) / variance)
        if at != 1:
            sizes.append(means.var(axis=(0, 1)) / variance)
    return np.array([*found, *sizes])


def _bounded(draws: np.ndarray) -> np.ndarray:
    """Distances to the median, in sds of a normal distribution and cut off where it has hardly any draws.

    The diagnostics use ranks, which no single draw can dominate. Median and spread come from some of the draws.
    """
    some = draws[:, :: max(1, draws.shape[1] // _SAMPLE)]
    median = np.median(some, axis=(0, 1))
    spread = np.median(np.abs(some - median), axis=(0, 1)) / ndtri(0.75)
    return np.clip((draws - median) / spread, -_FAR, _FAR)


def _variance(series: np.ndarray, at: int) -> np.ndarray:
    """Variance of each parameter's series; from the third on, the series are indicators."""
    mean = series.mean(axis=(0, 1))
    return np.square(series).mean(axis=(0, 1)) - mean**2 if at < 2 else mean * (1 - mean)


def _batch_means(series: np.ndarray) -> np.ndarray:
    """Means of batches, each with as many draws as half a chain has batches, (half chain, batch, parameter)."""
    chains, n, k = series.shape
    half = n // 2
    length = max(1, int(np.sqrt(half)))
    batches = half // length
    first = series[:, : batches * length], series[:, n - batches * length :]
    return np.concatenate([part.reshape(chains, batches, length, k).mean(axis=2) for part in first])


def _convergence(draws: np.ndarray, score_of: np.ndarray) -> np.ndarray:
    """R-hat, bulk and tail ESS of draws of shape (parameter, chain, draw); returns (3, parameter)."""
    finite = np.isfinite(draws).all(axis=(1, 2))
    draws = np.where(finite[:, None, None], draws, 0.0)
    split = _split(draws)
    order, ordered = _sort(split)
    scores = _rank_normalise(order, ordered, score_of).reshape(split.shape)
    folded = _rank_normalise(*_fold(order, ordered), score_of).reshape(split.shape)
    r_hat = np.maximum(_r_hat(scores), _r_hat(folded))
    if draws.size > split.size:  # the quantiles are those of all draws, even if the split drops some
        _, ordered = _sort(draws)
    # tail ESS: the worse of the two quantiles' indicator (section 4.3)
    low, high = (split <= _quantile(ordered, p)[:, None, None] for p in (0.05, 0.95))
    bulk, *tails = _ess(np.array([scores, low, high]))
    return np.where(finite, [r_hat, bulk, np.minimum(*tails)], np.nan)


def _split(draws: np.ndarray) -> np.ndarray:
    """Halve each chain; from an odd number of draws, the middle one is dropped."""
    parameters, chains, n = draws.shape
    if n % 2:
        draws = np.delete(draws, n // 2, axis=2)
    return draws.reshape(parameters, 2 * chains, n // 2)


def _sort(draws: np.ndarray, kind: Literal["stable"] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Each parameter's draws in ascending order.

    Returns
    -------
    order : numpy.ndarray of shape (parameter, chain * draw)
        Their positions in ``draws.ravel()``.
    ordered : numpy.ndarray of shape (parameter, chain * draw)
    """
    draws = draws.reshape(len(draws), -1)
    order = draws.argsort(axis=1, kind=kind)
    order += np.arange(0, draws.size, draws.shape[1])[:, None]
    return order, draws.ravel()[order]


def _fold(order: np.ndarray, ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the median, which show differences in scale (section 4.2), sorted as by `_sort`."""
    half = ordered.shape[1] // 2
    below, above = slice(half - 1, None, -1), slice(half, None)
    median = ordered[:, half - 1 : half + 1].mean(axis=1, keepdims=True)
    # outwards from the median both sides ascend, and a stable sort merges two ascending runs in linear time
    distance = np.concatenate([median - ordered[:, below], ordered[:, above] - median], axis=1)
    fold, distance = _sort(distance, kind="stable")
    return np.concatenate([order[:, below], order[:, above]], axis=1).ravel()[fold], distance


def _normal_scores(n: int) -> np.ndarray:
    """Normal scores of the ranks 1, 1.5, ..., n, equation (14); shape (2 n - 1,)."""
    ranks = np.arange(2, 2 * n + 1) / 2
    return ndtri((ranks - 3 / 8) / (n + 1 / 4))


def _rank_normalise(order: np.ndarray, ordered: np.ndarray, score_of: np.ndarray) -> np.ndarray:
    """Normal scores of sorted draws, returned to the draws' positions; tied draws share their average rank."""
    n = ordered.shape[1]
    new = np.ones(ordered.shape, dtype=bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=new[:, 1:])
    if new.all():
        values = np.tile(score_of[::2], (len(ordered), 1))
    else:
        start = np.flatnonzero(new)  # of each run of equal draws
        length = np.diff(start, append=ordered.size)
        # first + last place of the run, counted from 0, is twice the average rank, counted from 1, less 2
        values = np.repeat(score_of[2 * (start % n) + length - 1], length).reshape(ordered.shape)
    scores = np.empty(ordered.size)
    scores[order] = values
    return scores


def _quantile(ordered: np.ndarray, p: float) -> np.ndarray:
    """Quantile of each row of sorted draws, linear between two draws and rounded as in `numpy.quantile`."""
    place = (ordered.shape[1] - 1) * p
    weight = place % 1
    low, high = ordered[:, int(place)], ordered[:, int(place) + 1]
    return low + (high - low) * weight if weight < 0.5 else high - (high - low) * (1 - weight)


def _r_hat(draws: np.ndarray) -> np.ndarray:
    n = draws.shape[2]
    within = draws.var(axis=2, ddof=1).mean(axis=1)  # W, equation (2)
    between = n * draws.mean(axis=2).var(axis=1, ddof=1)  # B, equation (1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt((between / within + n - 1) / n)  # equations (3) and (4)


def _ess(series: np.ndarray) -> np.ndarray:
    """Effective sample size, equations (9) to (13), of shape (..., chain, draw); returns shape (...)."""
    chains, n = series.shape[-2:]
    means = series.mean(axis=-1)
    shape, between = means.shape[:-1], means.var(axis=-1, ddof=1).ravel()
    centred = (series - means[..., None]).reshape(-1, chains, n)
    tau, ended = _autocorrelation_time(_autocorrelation(_first_autocovariances(centred), between, n))
    if not ended.all():
        rest = ~ended
        tau[rest], _ = _autocorrelation_time(_autocorrelation(_autocovariance(centred[rest]), between[rest], n))
    total = chains * n
    tau = np.maximum(tau, 1 / np.log10(total))  # antithetic chains: section 3.2
    constant = (between == 0) & ~centred.any(axis=(1, 2))  # exactly, as its scores are 0 and its indicators 0 or 1
    return np.where(constant, float(total), total / tau).reshape(shape)


def _autocorrelation(autocovariance: np.ndarray, between: np.ndarray, n: int) -> np.ndarray:
    """Combined autocorrelation of the chains, equation (10), (parameter, lag); 0 for constant parameters.

    Parameters
    ----------
    autocovariance : numpy.ndarray of shape (parameter, lag)
    between : numpy.ndarray of shape (parameter,)
        Variance of the chains' means.
    n : int
        Draws of a chain.
    """
    within = autocovariance[:, :1] * n / (n - 1)
    pooled = autocovariance[:, :1] + between[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = 1 - (within - autocovariance) / pooled
    rho[:, 0] = 1.0
    rho[pooled[:, 0] == 0] = 0.0
    return rho


def _autocorrelation_time(rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Geyer's initial monotone sequence: sum rho in pairs while the pairs are positive and do not grow.

    Parameters
    ----------
    rho : numpy.ndarray of shape (parameter, lag)

    Returns
    -------
    time : numpy.ndarray of shape (parameter,)
    ended : numpy.ndarray of bool, shape (parameter,)
        Whether the sum ended before the lags did.
    """
    last = len(range(1, rho.shape[1] - 3, 2))  # the last pair to look at
    even = rho[:, 0 : 2 * last + 1 : 2]
    pairs = even + rho[:, 1 : 2 * last + 2 : 2]
    stopped = pairs <= 0
    stop = np.where(stopped.any(axis=1), stopped.argmax(axis=1), last)
    kept = np.arange(stop.max()) < stop[:, None]
    monotone = np.minimum.accumulate(np.where(kept, pairs[:, : stop.max()], np.inf), axis=1)
    # in the pair that ends the sum, a positive even lag still counts (as in Stan and ArviZ)
    rows = np.arange(len(rho))
    end = even[rows, stop]
    end = np.where(pairs[rows, stop] >= 0, end, np.maximum(end, 0.0))
    return -1 + 2 * np.where(kept, monotone, 0.0).sum(axis=1) + end, stop < last


def _first_autocovariances(centred: np.ndarray) -> np.ndarray:
    """As `_autocovariance` for (parameter, chain, draw), for so few lags that sums of products are faster."""
    _, chains, n = centred.shape
    products = (np.einsum("pcn,pcn->p", centred[..., : n - lag], centred[..., lag:]) for lag in range(min(_LAGS, n)))
    return np.stack(list(products), axis=1) / (n * chains)


def _autocovariance(centred: np.ndarray) -> np.ndarray:
    """Biased autocovariance along draws, averaged over chains, by FFT; (..., chain, draw) to (..., lag)."""
    chains, n = centred.shape[-2:]
    size = next_fast_len(2 * n, real=True)
    spectrum = rfft(centred, size, axis=-1)
    # the average comes before the inverse transform, so that there is one for all chains
    power = np.einsum("...cf,...cf->...f", spectrum.real, spectrum.real)
    power += np.einsum("...cf,...cf->...f", spectrum.imag, spectrum.imag)
    return irfft(power, size, axis=-1)[..., :n] / (n * chains)


def pareto_k(log_weights: np.ndarray) -> float:
    r"""Pareto :math:`\hat k` of raw importance weights: the shape of a generalised Pareto tail fitted to the largest.

    With weights :math:`w`, :math:`1 / \hat k` tells how many moments of :math:`w` exist. Estimates by importance
    sampling are reliable below 0.7 (with fewer than 2200 draws, below :math:`1 - 1 / \log_{10} n`; PSIS).

    Parameters
    ----------
    log_weights : numpy.ndarray of shape (n,)
        Up to a constant; ``-inf`` is a weight of zero.

    Returns
    -------
    float
        ``inf`` if nothing can be fitted, so that nothing supports the weights: with a NaN or ``+inf`` among them, if
        all are zero, or with fewer than 5 distinct ones in the tail. The same holds for equal weights, as in ArviZ 0.x;
        they are ideal, and a caller that expects them has to check for them first.

    Notes
    -----
    The tail is the weights greater than the (M + 1)th largest, :math:`M = \lceil\min(n/5, 3\sqrt n)\rceil`: M of
    them, or fewer if there are ties. Weights below 2e-308 of the largest are never in it.

    Examples
    --------
    The weights exp(0.5 E) of standard exponential E are Pareto distributed with k = 0.5.

    >>> round(pareto_k(0.5 * np.random.default_rng(0).exponential(size=100_000)), 1)
    0.5
    """
    n = len(log_weights)
    length = int(np.ceil(min(n / 5, 3 * np.sqrt(n))))  # M, PSIS
    if length < _SHORTEST_TAIL or not np.isfinite(largest := log_weights.max()):
        return np.inf
    cutoff = np.partition(log_weights, n - length - 1)[n - length - 1]
    cutoff = max(cutoff, largest + np.log(np.finfo(float).tiny))
    tail = np.sort(log_weights[log_weights > cutoff])
    if len(np.unique(tail)) < _SHORTEST_TAIL:
        return np.inf
    # the excess of the weights over the cutoff, in units of the cutoff: k does not depend on the unit
    k = _generalised_pareto_shape(np.expm1(tail - cutoff))
    # weak prior of PSIS: worth 10 observations of k = 0.5
    k = (len(tail) * k + 10 * 0.5) / (len(tail) + 10)
    return float(k) if np.isfinite(k) else np.inf


def _generalised_pareto_shape(x: np.ndarray) -> float:
    """Zhang & Stephens' estimate of k (their -k) in the density (1 + k x / s)^(-1/k - 1) / s of x > 0, ascending.

    It is k at the posterior mean of theta = -k / s, under their data-dependent prior and the likelihood in which,
    for a given theta, k has its maximum likelihood value, the mean of log(1 - theta x).
    """
    n = len(x)
    points = 30 + int(np.sqrt(n))  # they take 20, PSIS 30
    quartile = x[int(n / 4 + 0.5) - 1]
    with np.errstate(over="ignore", invalid="ignore"):  # a tail beyond the range of floats has no finite k
        # quantiles of the prior of theta
        theta = 1 / x[-1] + (1 - np.sqrt(points / (np.arange(points) + 0.5))) / (3 * quartile)
        theta = theta[theta != 0]  # the exponential limit, where k / theta is 0 / 0
        k = np.log1p(-theta[:, None] * x).mean(axis=1)
        profile = n * (np.log(-theta / k) - k - 1)  # log likelihood
        return np.log1p(-(theta @ softmax(profile)) * x).mean()
