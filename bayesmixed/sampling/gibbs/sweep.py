"""A sweep: an update of every large factor, with the steps that precede it, and how all of them move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmixed.sampling.gibbs.chains import Chains, Move, Updated
from bayesmixed.sampling.gibbs.joint.nest import Nest
from bayesmixed.sampling.gibbs.joint.redraw import Redraw
from bayesmixed.sampling.gibbs.joint.rescale import rescale
from bayesmixed.sampling.gibbs.model import Arrangement
from bayesmixed.sampling.gibbs.proposal import LogDensity, Spread, resample


@dataclass
class Steps:
    """The parts of a sweep: numbered blocks of coordinates, each with its own proposal.

    Attributes
    ----------
    nests : tuple of Nest
        The blocks that follow the arrangement's conditionals.
    redraw : Redraw or None
        For nearly nested factors.
    """

    nests: tuple[Nest, ...]
    redraw: Redraw | None = None

    def points(self, arrangement: Arrangement, theta: np.ndarray, s: np.ndarray) -> list[np.ndarray]:
        """Coordinates of every block, (D, C), from theta, (d, C), and log(sigma), (C,)."""
        return [block.point(theta, s) for block in (*arrangement.conditionals, *self.nests)]


@dataclass
class Sampler:
    """Moves by i-SIR with the proposals from the warm-up.

    Attributes
    ----------
    proposals : list of Spread
    candidates : list of int
        Number of fresh points of an update.
    rng : numpy.random.Generator
    moved : numpy.ndarray of shape (C,)
        Share of the last sweep's updates that moved.
    log_density : numpy.ndarray of shape (C,)
        Of the last update.
    """

    proposals: list[Spread]
    candidates: list[int]
    rng: np.random.Generator
    moved: np.ndarray
    log_density: np.ndarray

    def __call__(self, i: int, x: np.ndarray, log_density: LogDensity) -> np.ndarray:
        """A step of i-SIR, for all coordinates of a conditional or for its first ones."""
        whole = len(x) == len(self.proposals[i].mean)
        proposal = self.proposals[i].leading(len(x))
        new, moved, density = resample(x, log_density, proposal, self.candidates[i], self.rng)
        if whole:
            self.moved, self.log_density = self.moved + moved / len(self.proposals), density
        return new


def sweep(
    chains: Chains, move: Move, steps: Steps, rng: np.random.Generator, last: np.ndarray | None = None
) -> tuple[list[Updated], int]:
    """An update of every large factor, each after the steps that make its effects outdated.

    Parameters
    ----------
    chains : Chains
    move : callable
        See `Chains.update`; called with the block's number.
    steps : Steps
    rng : numpy.random.Generator
    last : numpy.ndarray of shape (q, J, C), optional
        Noise of the largest factor's effects; default: from `rng`.

    Returns
    -------
    updates : list of Updated
    iterations : int
        Of conjugate gradients.
    """
    updates, iterations, largest = [], 0, len(chains.deviations) - 1
    for i, deviations in enumerate(chains.deviations):
        mine = [(number, nest) for number, nest in enumerate(steps.nests, largest + 1) if nest.inner == i]
        if i == largest and steps.redraw is not None:
            iterations = steps.redraw(chains, rng)
            rescale(chains, move, without=[nest.outer for _, nest in mine])
        for number, nest in mine:
            nest(chains, number, move, rng)
        noise = last if i == largest and last is not None else rng.standard_normal(deviations.shape)
        updates.append(chains.update(i, move, rng.standard_normal(chains.shared.shape), noise))
    return updates, iterations
