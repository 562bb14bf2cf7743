"""From the mode to the sampler's last reference: chains are started, and learn from themselves in a few rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bayesmixed.errors import SamplerError
from bayesmixed.sampling.transport.constants import (
    PER_POINT,
    PRIOR_POINTS,
    ROUNDS,
    SKIPPED,
    SPREAD,
    START_HALVINGS,
)
from bayesmixed.sampling.transport.coordinates import Coordinates
from bayesmixed.sampling.transport.target import State, Target
from bayesmixed.sampling.transport.trajectory import DualAveraging, trajectory
from bayesmixed.sampling.transport.working.rows import Reference


@dataclass(frozen=True)
class Adapted:
    """What sampling begins with.

    Attributes
    ----------
    target : Target
    state : State
    step : float
    gradients : int
        Evaluations of the target that the trajectories took.
    """

    target: Target
    state: State
    step: float
    gradients: int


@dataclass
class Pilot:
    """Averages over the states of a round, which the next reference and coordinates are made of.

    Attributes
    ----------
    target : Target
    """

    target: Target

    def __post_init__(self) -> None:
        n = self.target.rows.n
        self._weight, self._lin, self._score = np.zeros(n), np.zeros(n), np.zeros(n)
        self._x: list[np.ndarray] = []

    def add(self, state: State) -> None:
        """Take in all chains."""
        rows = self.target.rows
        lin = rows.linear(state.w)
        weight, score = rows.working(lin, state.points.auxiliary)
        self._weight += weight.mean(axis=1)
        self._lin += lin.mean(axis=1)
        self._score += score.mean(axis=1)
        self._x.append(state.points.x)

    def reference(self) -> Reference:
        """Of the mean weights W, and with the mean score as its slope at the mean linear predictor."""
        n = len(self._x)
        return Reference.about(self._lin / n, self._weight / n, self._score / n)

    def coordinates(self) -> Coordinates:
        """Whitened by the round's mean, and by its covariance and the one before, averaged."""
        before = self.target.coordinates
        u = before.warped(np.concatenate(self._x, axis=1))
        if not len(u):
            return before
        weight = u.shape[1] / PER_POINT
        V = (weight * np.cov(u).reshape(len(u), len(u)) + PRIOR_POINTS * before.V @ before.V.T) / (
            weight + PRIOR_POINTS
        )
        return replace(before, mu=u.mean(axis=1), V=np.linalg.cholesky(V))


def adapt(target: Target, chains: int, rng: np.random.Generator, advance: Callable[[int], None]) -> Adapted:
    """Start the chains, and let reference, coordinates and step learn from them.

    Parameters
    ----------
    target : Target
        At the start.
    chains : int
    rng : numpy.random.Generator
    advance : callable
        Told the number of evaluations after every trajectory.

    Raises
    ------
    SamplerError
        There is no density where the chains should start.
    """
    d = target.coordinates.parameters.dimension
    state = start_chains(target, chains, rng)
    lengths = [constant + per_coordinate * d for constant, per_coordinate in ROUNDS]
    gradients = 0
    for number, length in enumerate(lengths):
        averaging, pilot = DualAveraging(), Pilot(target)
        for iteration in range(length):
            move = trajectory(target, state, averaging.step, rng)
            state = move.state
            averaging.learn(float(move.acceptance.mean()))
            gradients += move.gradients
            advance(move.gradients * chains)
            if number < len(lengths) - 1 and (number or iteration >= SKIPPED * length):
                pilot.add(state)
        if number < len(lengths) - 1:
            target = Target.of(target.rows, pilot.coordinates(), pilot.reference())
            state = relocate(target, state)
    return Adapted(target, state, averaging.frozen, gradients)


def start_chains(target: Target, chains: int, rng: np.random.Generator) -> State:
    """Chains about the mode; one without density or force there starts half as far from it, or half of that."""
    size = target.rows.layout.size
    x = rng.standard_normal((size + target.coordinates.parameters.dimension, chains))
    x[:size] *= SPREAD
    for _ in range(START_HALVINGS):
        state = target.evaluate(x)
        lost = ~np.isfinite(state.residual)
        if not lost.any():
            return state
        x[:, lost] /= 2
    raise SamplerError("the posterior has no density where its chains should start")


def relocate(target: Target, state: State) -> State:
    """The same effects and parameters in the coordinates of another target."""
    t = target.coordinates.whiten(state.points.x)
    z = target.transport(target.coordinates.at(t)).noise(state.w)
    return target.evaluate(np.concatenate([z, t]))
