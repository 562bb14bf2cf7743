"""Hamiltonian trajectories: exact rotation under N(0, I), with kicks from the residual's force only.

Shahbaba, Lan, Johnson & Neal (2014), Split Hamiltonian Monte Carlo, Statistics and Computing 24, 339-349, section 3.1.
All chains share one step, adapted by dual averaging: Hoffman & Gelman (2014), The No-U-Turn Sampler, Journal
of Machine Learning Research 15, 1593-1623, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmixed.sampling.transport.constants import (
    ANGLE,
    DECAY,
    DELAY,
    DELTA,
    DIVERGENT,
    FIRST_STEP,
    JITTER,
    MAX_STEP,
    MAX_STEPS,
    SHORT,
    SHORT_SHARE,
    SHRINKAGE,
)
from bayesmixed.sampling.transport.target import State, Target


@dataclass(frozen=True)
class Move:
    """One trajectory of each of C chains.

    Attributes
    ----------
    state : State
    acceptance : numpy.ndarray of shape (C,)
        Probabilities.
    divergent : numpy.ndarray of bool, shape (C,)
    gradients : int
        Evaluations of the target, each of all chains.
    """

    state: State
    acceptance: np.ndarray
    divergent: np.ndarray
    gradients: int


@dataclass
class DualAveraging:
    """The step size that reaches the wanted acceptance: Hoffman & Gelman (2014), equation (6).

    Attributes
    ----------
    log_step : float
        Of the next trajectory; x_t in the paper.
    """

    log_step: float = float(np.log(FIRST_STEP))
    _mean_log: float = 0.0
    _error: float = 0.0
    _count: int = 0

    @property
    def step(self) -> float:
        """Of the next trajectory."""
        return float(np.exp(self.log_step))

    @property
    def frozen(self) -> float:
        """The weighted average of the steps so far."""
        return float(np.exp(self._mean_log))

    def learn(self, acceptance: float) -> None:
        """Learn from the acceptance of one trajectory, averaged over the chains."""
        self._count += 1
        m, share = self._count, 1 / (self._count + DELAY)
        self._error = (1 - share) * self._error + share * (DELTA - acceptance)
        largest = np.log(MAX_STEP)
        self.log_step = float(min(largest - np.sqrt(m) / SHRINKAGE * self._error, largest))
        weight = m**-DECAY
        self._mean_log = weight * self.log_step + (1 - weight) * self._mean_log


def trajectory(target: Target, state: State, step: float, rng: np.random.Generator) -> Move:
    """Follow one trajectory of each chain, and accept its end or stay."""
    angle = ANGLE * rng.uniform(*JITTER)
    if rng.random() < SHORT_SHARE:
        step = SHORT * step
    steps = min(int(np.ceil(angle / step)), MAX_STEPS)
    step = min(angle / steps, step)
    cosine, sine = np.cos(step), np.sin(step)
    p = rng.standard_normal(state.x.shape)
    log_u = np.log(rng.random(len(state.residual)))
    start = state.log_density - 0.5 * np.square(p).sum(axis=0)
    moved = state
    with np.errstate(over="ignore", invalid="ignore"):  # a trajectory that diverges
        for _ in range(steps):  # half a kick, an exact rotation of (x, p), half a kick
            p = p + 0.5 * step * moved.force
            x, p = cosine * moved.x + sine * p, cosine * p - sine * moved.x
            moved = target.evaluate(x)
            p = p + 0.5 * step * moved.force
        change = moved.log_density - 0.5 * np.square(p).sum(axis=0) - start
    change = np.where(np.isfinite(change), change, -np.inf)
    return Move(state.where(log_u < change, moved), np.exp(np.minimum(change, 0.0)), change < -DIVERGENT, steps)
