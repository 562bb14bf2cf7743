"""Independence Metropolis-Hastings over proposals that were evaluated beforehand, and how far to trust it.

The whole chain is one batch of evaluations followed by cheap acceptances (Tierney, 1994, Markov chains for exploring
posterior distributions, Annals of Statistics 22, 1701-1762).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Chains:
    """Chains in the order in which they were walked, including repeated states.

    Attributes
    ----------
    state : numpy.ndarray of int, shape (chain, draw)
        Position among the evaluated points.
    acceptance : numpy.ndarray of shape (chain, draw)
        Share of accepted proposals since the previous draw.
    """

    state: np.ndarray
    acceptance: np.ndarray


def walk(log_w: np.ndarray, start: np.ndarray, rng: np.random.Generator, thin: int, hold: int) -> Chains:
    """Walk one chain per row of proposals.

    Parameters
    ----------
    log_w : numpy.ndarray of shape (chain, n + 1)
        Log importance weights; the first of a row is the chain's start, the others its proposals in order.
    start : numpy.ndarray of int, shape (chain, n + 1)
        Position of each among the evaluated points.
    rng : numpy.random.Generator
    thin : int
        Proposals per kept draw.
    hold : int
        Kept draws per proposal, if proposals are expensive; `thin` is then 1.

    Returns
    -------
    Chains
        Of ``n // thin * hold`` draws.
    """
    chains, n = log_w.shape[0], log_w.shape[1] - 1
    log_u = np.log(rng.random((chains, n)))
    walked = np.empty((chains, n), dtype=int)
    for c in range(chains):
        # accept when log u < log_w[proposal] - log_w[current]; lists are faster than arrays here
        bars = (log_w[c, 1:] - log_u[c]).tolist()
        weights = log_w[c].tolist()
        current, height, path = 0, weights[0], []
        for proposal, bar in enumerate(bars, 1):
            if bar > height:
                current, height = proposal, weights[proposal]
            path.append(current)
        walked[c] = path
    accepted = walked == np.arange(1, n + 1)
    state = np.take_along_axis(start, walked, axis=1)
    kept = n // thin
    acceptance = accepted[:, : kept * thin].reshape(chains, kept, thin).mean(axis=2)
    return Chains(np.repeat(state[:, thin - 1 : kept * thin : thin], hold, axis=1), np.repeat(acceptance, hold, axis=1))


def longest_stay(log_w: np.ndarray, thin: int) -> float:
    """Kept draws for which the heaviest point is expected to stay: its weight over the mean weight, over `thin`."""
    w = np.exp(log_w - log_w.max())
    return float(1 / (w.mean() * thin))
