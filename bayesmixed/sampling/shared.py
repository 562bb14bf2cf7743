"""Shared by engines that integrate effects out: priors that prevent it, and the way back to the user's scale."""

from __future__ import annotations

import numpy as np

from bayesmixed.design.summed.summed import Named
from bayesmixed.distributions import Normal
from bayesmixed.gaussian.units import Units
from bayesmixed.priors.priors import Priors


def not_normal(priors: Priors) -> str:
    """Priors of common effects that are not normal, by name; empty if all are."""
    given = dict(priors.common) if priors.intercept is None else {"Intercept": priors.intercept, **priors.common}
    return ", ".join(f"{name!r}: {prior!r}" for name, prior in given.items() if not isinstance(prior, Normal))


def n_covariance_parameters(design: Named) -> int:
    """Number of group standard deviations and correlations."""
    return sum(len(factor.effect_names) + len(factor.pairs) for factor in design.groups)


def by_draw(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Arrays (..., S) of draws as (chain, draw, ...)."""
    return np.ascontiguousarray(np.moveaxis(values, -1, 0)).reshape(*shape, *values.shape[:-1])


def covariance_values(
    design: Named, units: Units, roots: list[np.ndarray], which: np.ndarray, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Draws of the group effects' standard deviations and correlations, on the user's scale.

    Parameters
    ----------
    design : Design, Summed or DesignSpec
    units : Units
    roots : list of numpy.ndarray of shape (q, q, n)
        Of each factor's covariance at n points, working units.
    which : numpy.ndarray of int, shape (S,)
        The point of every draw, numbered across the chains.
    shape : tuple of int
        Number of chains, draws per chain.
    """
    values = {}
    for f, factor in enumerate(design.groups):
        sd, R = units.group_covariance(f, roots[f])
        values[f"sd_{factor.name}"] = by_draw(sd[:, which], shape)
        if factor.pairs:
            rows, columns = np.transpose(factor.pairs)
            values[f"corr_{factor.name}"] = by_draw(R[rows, columns][:, which], shape)
    return values


def common_values(
    design: Named, units: Units, gamma: np.ndarray, gamma_mean: np.ndarray, shape: tuple[int, ...]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draws and exact means of Intercept and beta on the user's scale."""
    values: dict[str, np.ndarray] = {}
    means: dict[str, np.ndarray] = {}
    intercept, beta = units.common_effects(gamma)
    mean_intercept, mean_beta = units.common_effects(gamma_mean.mean(axis=1))
    if intercept is not None:
        values["Intercept"], means["Intercept"] = intercept.reshape(shape), np.asarray(mean_intercept)
    if design.common_names:
        values["beta"], means["beta"] = by_draw(beta, shape), mean_beta
    return values, means
