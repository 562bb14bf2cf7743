"""The chains, as columns of every array, and their updates: all of one large factor, the shared effects and sigma.

An update draws (theta_f, theta_small, sigma) with the effects of f and the shared ones integrated out, then these
effects, given those of the other large factors. As this is one block, the only dependence left between effects is that
between large factors (Papaspiliopoulos, Roberts & Zanella, 2020, Scalable inference for crossed random effects models,
Biometrika 107, 25-40; van Dyk & Park, 2008, Partially collapsed Gibbs samplers, Journal of the American Statistical
Association 103, 790-796).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bayesmixed.sampling.gibbs.factor import Given
from bayesmixed.sampling.gibbs.model import Arrangement
from bayesmixed.sampling.gibbs.proposal import LogDensity

Move = Callable[[int, np.ndarray, LogDensity], np.ndarray]  # moves a factor's points (D, C)


@dataclass(frozen=True)
class Updated:
    """The conditional means of what an update has drawn.

    Attributes
    ----------
    shared_mean : numpy.ndarray of shape (K - 1, C)
    mean : numpy.ndarray of shape (q, J, C)
    """

    shared_mean: np.ndarray
    mean: np.ndarray


class Chains:
    """The state of C chains.

    Parameters
    ----------
    arrangement : Arrangement
    theta : numpy.ndarray of shape (d, C)
        Coordinates of all factors' covariances, on the absolute scale.
    s : numpy.ndarray of shape (C,)
        log(sigma).

    Attributes
    ----------
    deviations : list of numpy.ndarray of shape (q, J, C)
        Effects of every large factor, minus its centre.
    shared : numpy.ndarray of shape (K - 1, C)
        The small factors' effects, then the common ones.
    """

    def __init__(self, arrangement: Arrangement, theta: np.ndarray, s: np.ndarray) -> None:
        self.arrangement, self.theta, self.s = arrangement, theta.copy(), s.copy()
        C, K = len(s), arrangement.columns.total
        self.deviations = [np.zeros((factor.q, factor.J, C)) for factor in arrangement.factors]
        self.shared = np.zeros((K - 1, C))
        # for every factor: Z_f'W Z_g d_g by g, [shared columns, y']'W Z_f d_f, and d_f'Z_f'W Z_f d_f
        self._met = {pair: np.zeros((A.shape[0], C)) for pair, A in arrangement.crossing.items()}
        self._products = [np.zeros((K, C)) for _ in arrangement.factors]
        self._square = [np.zeros(C) for _ in arrangement.factors]

    def point(self, i: int) -> np.ndarray:
        """Coordinates of a conditional, (D, C)."""
        return self.arrangement.conditionals[i].point(self.theta, self.s)

    def effects(self, i: int) -> np.ndarray:
        """A large factor's effects, (q, J, C)."""
        return self.deviations[i] + self.arrangement.factors[i].centre[..., None]

    def place(self, i: int, deviations: np.ndarray) -> None:
        """Set effects, as deviations from the centre, (q, J, C), and update what depends on them."""
        factor = self.arrangement.factors[i]
        flat = deviations.reshape(-1, deviations.shape[2])
        self.deviations[i] = deviations
        for (j, k), A in self.arrangement.crossing.items():
            if k == i:
                self._met[j, i] = A @ flat
        self._products[i] = factor.T @ flat
        own = np.einsum("ekj,kjc,ejc->c", factor.S, deviations, deviations) if factor.q > 1 else None
        self._square[i] = factor.S[0, 0] @ np.square(deviations[0]) if own is None else own

    def left_to(self, i: int, without: tuple[int, ...] = ()) -> np.ndarray:
        """Z_i'W times y' minus the deviations of all other large factors except those at `without`, (q, J, C)."""
        factor = self.arrangement.factors[i]
        r = np.repeat(factor.T[-1][:, None], len(self.s), axis=1)
        for j in range(len(self.deviations)):
            if j != i and j not in without:
                r -= self._met[i, j]
        return r.reshape(factor.q, factor.J, -1)

    def given(self, i: int, without: tuple[int, ...] = ()) -> Given:
        """What the other large factors, except those at `without`, leave to factor i."""
        others = [j for j in range(len(self.deviations)) if j != i and j not in without]
        products = np.repeat(self.arrangement.VV[:, -1:], len(self.s), axis=1)
        for j in others:
            products[:-1] -= self._products[j][:-1]
            products[-1] += self._square[j] - 2 * self._products[j][-1]
        for j in others:
            for k in others:
                if k < j:
                    flat = self.deviations[j].reshape(-1, len(self.s))
                    products[-1] += 2 * np.einsum("jc,jc->c", flat, self._met[j, k])
        products[-1] = np.maximum(products[-1], 0.0)
        return self.arrangement.factors[i].given(self.left_to(i, without), products)

    def update(self, i: int, move: Move, normals: np.ndarray, noise: np.ndarray) -> Updated:
        """Draw everything that belongs to one factor.

        Parameters
        ----------
        i : int
        move : callable
            Moves the coordinates: given the factor, its points and their log density, returns new points.
        normals : numpy.ndarray of shape (K - 1, C)
        noise : numpy.ndarray of shape (q, J, C)
            Standard normal; zeros give the conditional means.
        """
        conditional, given = self.arrangement.conditionals[i], self.given(i)
        x = move(i, self.point(i), lambda points: conditional.log_density(given, points))
        self.theta[conditional.index], self.s = x[:-1], x[-1]
        shared_mean, self.shared, mean, b = conditional.draw(given, x, normals, noise)
        self.place(i, b - conditional.factor.centre[..., None])
        return Updated(shared_mean, mean)
