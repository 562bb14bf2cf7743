"""Resampling of draws by weights for what was learned since they were made."""

from __future__ import annotations

import numpy as np

K_HAT_LIMIT = 0.7  # Pareto k-hat of importance weights above which they are not trusted


def resample(log_weights: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Systematic resampling within each chain, in order, so that repeated draws are adjacent.

    R-hat and effective sample sizes then reflect the cost of the weights, as they reflect rejections in a Markov chain.

    Parameters
    ----------
    log_weights : numpy.ndarray of shape (chain, draw)
    u : numpy.ndarray of shape (chain,)
        In (0, 1).

    Returns
    -------
    numpy.ndarray of int, shape (chain, draw)
        Positions within the chain, ascending.
    """
    n = log_weights.shape[1]
    largest = log_weights.max(axis=1, keepdims=True)
    weights = np.exp(log_weights - np.where(np.isfinite(largest), largest, 0.0))
    ends = np.cumsum(weights, axis=1)
    goals = (u[:, None] + np.arange(n)) / n * ends[:, -1:]
    found = [np.searchsorted(end, goal, side="right") for end, goal in zip(ends, goals, strict=True)]
    return np.minimum(found, n - 1)
