"""Points of the chains become `Draws`: effects are drawn back, and everything is brought to the user's scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesmixed.chunks import allowed
from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.gaussian.batched import packed_size
from bayesmixed.gaussian.effects import FirstEffects, Points, draw_coefficients, later_effects
from bayesmixed.gaussian.units import Units
from bayesmixed.posterior.draws import Draws, layout

if TYPE_CHECKING:
    from bayesmixed.sampling.collapsed.state import State


def assemble(
    design: Design | DesignSpec,
    state: State,
    seed: int,
    acceptance: np.ndarray,
    diagnostics: dict[str, Any],
    *,
    advance: Callable[[int], None] = lambda n: None,
) -> Draws:
    """Draw the effects, and bring everything to the user's scale.

    Parameters
    ----------
    design : Design or DesignSpec
    state : State
    seed : int
        Part of the key of the effects' random numbers.
    acceptance : numpy.ndarray of shape (chain, draw)
        For the sample statistics.
    diagnostics : dict of str to object
    advance : callable
        Told the number of points after every chunk.
    """
    density, shape, points = state.density, state.which.shape, state.points()
    names = [factor.name for factor in design.groups]
    first, p = density.elimination.first.position, len(density.residual.prior) - 1
    statistics = density.statistics
    lazy = statistics.n_levels[first] * statistics.n_effects[first] * np.prod(shape) > allowed().stored
    common = np.empty((p + packed_size(p), len(points.s))) if lazy and len(names) == 1 else None
    coefficients = draw_coefficients(density, points, names, seed, advance, common=common)
    values, means = common_values(design, density.units, coefficients.gamma, coefficients.gamma_mean, shape)
    values |= _covariance_values(design, density.units, points, shape)
    for f, b in later_effects(density, coefficients.later).items():
        values[f"b_{names[f]}"] = _by_draw(b.swapaxes(0, 1), shape)
    for f, b in later_effects(density, coefficients.later_mean.mean(axis=1)).items():
        means[f"b_{names[f]}"] = b.T
    source = FirstEffects(density, points, coefficients, (seed, "effects", names[first]))
    name = f"b_{names[first]}"
    if not lazy:
        b = source.draw(np.arange(source.n_levels))
        values[name] = b.reshape(*shape, *b.shape[1:])
        means[name] = source.mean
    stats = {
        "lp": state.log_joint[state.which],
        "acceptance_rate": acceptance,
        "diverging": np.zeros(shape, dtype=bool),
    }
    ordered = {key: values[key] for key in layout(design, ("sigma",)) if key in values}
    lazy_sources = {names[first]: source} if lazy else {}
    return Draws(ordered, stats, diagnostics, means, replace(state, common=common), lazy_sources)


def _by_draw(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Arrays (..., S) of draws as (chain, draw, ...)."""
    return np.ascontiguousarray(np.moveaxis(values, -1, 0)).reshape(*shape, *values.shape[:-1])


def _covariance_values(
    design: Design | DesignSpec, units: Units, points: Points, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Draws of sigma, and of the group effects' standard deviations and correlations, on the user's scale."""
    sigma = np.exp(points.s)
    values = {"sigma": (units.scaling.y_scale * sigma)[points.which].reshape(shape)}
    for f, factor in enumerate(design.groups):
        sd, R = units.group_covariance(f, points.roots[f])
        values[f"sd_{factor.name}"] = _by_draw((sd * sigma)[:, points.which], shape)
        if factor.pairs:
            rows, columns = np.transpose(factor.pairs)
            values[f"corr_{factor.name}"] = _by_draw(R[rows, columns][:, points.which], shape)
    return values


def common_values(
    design: Design | DesignSpec, units: Units, gamma: np.ndarray, gamma_mean: np.ndarray, shape: tuple[int, ...]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draws and exact means of Intercept and beta on the user's scale."""
    values: dict[str, np.ndarray] = {}
    means: dict[str, np.ndarray] = {}
    intercept, beta = units.common_effects(gamma)
    mean_intercept, mean_beta = units.common_effects(gamma_mean.mean(axis=1))
    if intercept is not None:
        values["Intercept"], means["Intercept"] = intercept.reshape(shape), np.asarray(mean_intercept)
    if design.common_names:
        values["beta"], means["beta"] = _by_draw(beta, shape), mean_beta
    return values, means
