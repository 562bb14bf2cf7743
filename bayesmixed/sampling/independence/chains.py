"""Independence Metropolis-Hastings over proposals that were evaluated beforehand, and how far to trust it.

The whole chain is one batch of evaluations followed by cheap acceptances (Tierney, 1994, Markov chains for exploring
posterior distributions, Annals of Statistics 22, 1701-1762).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_PASSES = 8  # over all proposals, before they are walked one by one: more would take longer


@dataclass(frozen=True)
class Chains:
    """Chains in the order in which they were walked, including repeated states.

    Attributes
    ----------
    state : numpy.ndarray of int, shape (chain, draw)
        Position among the evaluated points.
    acceptance : numpy.ndarray of shape (chain, draw)
        Share of accepted proposals since the previous draw, or since the last one before these proposals if several
        draws have the same.
    """

    state: np.ndarray
    acceptance: np.ndarray


def walk(log_w: np.ndarray, start: np.ndarray, rng: np.random.Generator, draws: int) -> Chains:
    """Walk one chain per row of proposals, and keep evenly spaced states.

    Parameters
    ----------
    log_w : numpy.ndarray of shape (chain, n + 1)
        Log importance weights; the first of a row is the chain's start, the others its proposals in order.
    start : numpy.ndarray of int, shape (chain, n + 1)
        Position of each among the evaluated points.
    rng : numpy.random.Generator
    draws : int
        Draws per chain. With fewer proposals than draws, a state is several draws.

    Returns
    -------
    Chains
    """
    chains, n = log_w.shape[0], log_w.shape[1] - 1
    # accept when log u < log_w[proposal] - log_w[current]
    walked = _accept(log_w, log_w[:, 1:] - np.log(rng.random((chains, n))))
    state = np.take_along_axis(start, walked, axis=1)
    last = -(-np.arange(1, draws + 1) * n // draws)  # number of proposals up to each draw, at least one
    first = np.searchsorted(last, last)  # the first draw with the same proposals
    before = np.concatenate([[0], last])[first]
    accepted = np.zeros((chains, n + 1))  # so far
    np.cumsum(walked == np.arange(1, n + 1), axis=1, out=accepted[:, 1:])
    return Chains(state[:, last - 1], (accepted[:, last] - accepted[:, before]) / (last - before))


def _accept(log_w: np.ndarray, bars: np.ndarray) -> np.ndarray:
    """The last accepted proposal after each one, (chain, n): one is accepted if its bar is above the state's weight.

    All proposals at once, in passes: states are taken from the pass before, at first those of chains that accept
    everything. Each pass is right up to the first state that it changes. Few suffice if most proposals are accepted.
    """
    position = np.arange(log_w.size).reshape(log_w.shape)
    origin, state, heights = position[:, :1], position, log_w.ravel()
    for _ in range(_PASSES):
        accepted = bars > heights[state[:, :-1]]
        before, state = state, position.copy()
        np.maximum.accumulate(np.where(accepted, position[:, 1:], origin), axis=1, out=state[:, 1:])
        if (state == before).all():
            return state[:, 1:] - origin
    return np.array([_accept_in_turn(*chain) for chain in zip(log_w.tolist(), bars.tolist(), strict=True)])


def _accept_in_turn(log_w: list[float], bars: list[float]) -> list[int]:
    """The same for one chain, proposal by proposal."""
    state, states = 0, []
    for proposal, bar in enumerate(bars, 1):
        if bar > log_w[state]:
            state = proposal
        states.append(state)
    return states


def longest_stay(log_w: np.ndarray) -> float:
    """Proposals for which the heaviest point is expected to stay: its weight over the mean weight."""
    w = np.exp(log_w - log_w.max())
    return float(1 / w.mean())
