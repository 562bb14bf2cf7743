"""From the mode to the sampler's final reference: chains are started, and adapt in a few rounds.

Chains of a fit of nearly the same rows instead continue from where they are, and adapt only the step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from bayesmixed.errors import SamplerError
from bayesmixed.sampling.transport.constants import (
    PER_POINT,
    PRIOR_POINTS,
    ROUNDS,
    SKIPPED,
    SPREAD,
    START_HALVINGS,
    WARM_STEP,
)
from bayesmixed.sampling.transport.coordinates import Coordinates
from bayesmixed.sampling.transport.start import newton, reference_at
from bayesmixed.sampling.transport.target import State, Target
from bayesmixed.sampling.transport.trajectory import DualAveraging, trajectory
from bayesmixed.sampling.transport.working.layout import Layout
from bayesmixed.sampling.transport.working.rows import Reference, Rows


@dataclass(frozen=True)
class Adapted:
    """What sampling starts from.

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
    """Averages over the states of a round, from which the next reference and coordinates are made.

    Attributes
    ----------
    target : Target
    """

    target: Target

    def __post_init__(self) -> None:
        n = self.target.rows.n
        self._weight, self._lin, self._score = np.zeros(n), np.zeros(n), np.zeros(n)
        self._slopes: dict[str, np.ndarray] = {}
        self._at: dict[str, float] = {}
        self._x: list[np.ndarray] = []

    def add(self, state: State) -> None:
        """Take in all chains."""
        rows = self.target.rows
        lin = rows.linear(state.w)
        weight, score, slopes = rows.working(lin, state.points.auxiliary)
        self._weight += weight.mean(axis=1)
        self._lin += lin.mean(axis=1)
        self._score += score.mean(axis=1)
        for name, values in slopes.items():
            self._slopes[name] = self._slopes.get(name, 0.0) + values.mean(axis=1)
            self._at[name] = self._at.get(name, 0.0) + float(state.points.auxiliary[name].mean())
        self._x.append(state.points.x)

    def reference(self) -> Reference:
        """The reference with the mean weights W, the mean score at the mean linear predictor, and mean slopes."""
        n = len(self._x)
        slopes = {name: total / n for name, total in self._slopes.items()}
        at = {name: total / n for name, total in self._at.items()}
        return Reference.about(self._lin / n, self._weight / n, self._score / n, slopes, at)

    def coordinates(self) -> Coordinates:
        """Coordinates whitened by the round's mean, and by the average of its covariance and the previous one."""
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
    """Start the chains, and adapt reference, coordinates and step to them.

    Parameters
    ----------
    target : Target
        At the start.
    chains : int
    rng : numpy.random.Generator
    advance : callable
        Called with the number of evaluations after every trajectory.

    Raises
    ------
    SamplerError
        The density is zero where the chains should start.
    """
    return _learn(target, start_chains(target, chains, rng), ROUNDS, rng, advance)


def _learn(
    target: Target,
    state: State,
    rounds: tuple[tuple[int, int], ...],
    rng: np.random.Generator,
    advance: Callable[[int], None],
) -> Adapted:
    """Adapt the step in every round, reference and coordinates in all but the last."""
    d, chains = target.coordinates.parameters.dimension, len(state.residual)
    lengths = [constant + per_coordinate * d for constant, per_coordinate in rounds]
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
    """Chains about the mode; one with no density or force there starts half as far from it, or half of that."""
    size = target.rows.layout.size
    x = rng.standard_normal((size + target.coordinates.parameters.dimension, chains))
    x[:size] *= SPREAD
    for _ in range(START_HALVINGS):
        state = target.evaluate(x)
        lost = ~np.isfinite(state.residual)
        if not lost.any():
            return state
        x[:, lost] /= 2
    raise SamplerError("the posterior density is zero where its chains should start")


def relocate(target: Target, state: State) -> State:
    """The same effects and parameters in the coordinates of another target."""
    t = target.coordinates.whiten(state.points.x)
    z = target.transport(target.coordinates.at(t)).noise(state.w)
    return target.evaluate(np.concatenate([z, t]))


@dataclass(frozen=True)
class Warm:
    """What the chains of a fit ran on, and where they ended: chains of a fit of nearly the same rows can start there.

    Attributes
    ----------
    layout : Layout
        Of `w`.
    coordinates : Coordinates
    reference : Reference
        Of the fit's rows; rows that were added by weighting come after them.
    step : float
    w : numpy.ndarray of shape (size, C)
    x : numpy.ndarray of shape (d, C)
    """

    STORED: ClassVar[tuple[str, ...]] = ("layout", "coordinates", "reference", "step", "w", "x")

    layout: Layout
    coordinates: Coordinates
    reference: Reference
    step: float
    w: np.ndarray
    x: np.ndarray

    @classmethod
    def of(cls, adapted: Adapted, w: np.ndarray, x: np.ndarray) -> Warm:
        """From what was adapted and the last states, (size, C) and (d, C)."""
        target = adapted.target
        return cls(target.rows.layout, target.coordinates, target.reference, adapted.step, w, x)

    def extended(self, rows: Rows) -> Warm:
        """Extend it to the fit's rows and others after them.

        The others are approximated at the mode of the effects, which is also where effects of new levels start.
        """
        if len(self.reference.W) == rows.n:
            return self
        w = rows.layout.placed(self.w, self.layout)
        points = self.coordinates.at(np.zeros((len(self.x), 1)))
        mode = newton(rows, points, w.mean(axis=1, keepdims=True))
        further = rows.layout.placed(np.ones_like(self.w), self.layout) == 0
        reference = self.reference.followed(reference_at(rows, points, mode, follows=True))
        return replace(self, layout=rows.layout, reference=reference, w=np.where(further, mode, w))

    def adapt(self, rows: Rows, rng: np.random.Generator, advance: Callable[[int], None]) -> Adapted:
        """Continue the chains with other rows, those of the reference; `advance` as in the function of this name.

        Raises
        ------
        SamplerError
            The posterior is not close to the fit's: steps have to be much shorter.
        """
        target = Target.of(rows, self.coordinates, self.reference)
        t = target.coordinates.whiten(self.x)
        z = target.transport(target.coordinates.at(t)).noise(self.w)
        adapted = _learn(target, target.evaluate(np.concatenate([z, t])), ROUNDS[-1:], rng, advance)
        if not adapted.step >= WARM_STEP * self.step:
            raise SamplerError(f"the fit's chains, continued, need steps of {adapted.step:.2f}, not {self.step:.2f}")
        return adapted
