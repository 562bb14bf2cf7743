"""Turn points of the chains into `Draws`: draw the effects back, and bring everything to the user's scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesmixed.chunks import allowed
from bayesmixed.design.summed.summed import Named
from bayesmixed.families.gaussian import Gaussian
from bayesmixed.families.links import Identity
from bayesmixed.gaussian.batched import packed_size
from bayesmixed.gaussian.effects import FirstEffects, draw_coefficients, later_effects
from bayesmixed.posterior.draws import Draws, layout
from bayesmixed.posterior.values import Values
from bayesmixed.sampling.shared import by_draw, common_values, covariance_values

if TYPE_CHECKING:
    from bayesmixed.sampling.collapsed.state import State


def assemble(
    design: Named,
    state: State,
    seed: int,
    acceptance: np.ndarray,
    diagnostics: dict[str, Any],
    *,
    advance: Callable[[int], None] = lambda n: None,
) -> Draws:
    """Draw the effects, and bring everything to the user's scale; those of the first factor wait until they are read.

    Parameters
    ----------
    design : Design, Summed or DesignSpec
    state : State
    seed : int
        Part of the key of the effects' random numbers.
    acceptance : numpy.ndarray of shape (chain, draw)
        For the sample statistics.
    diagnostics : dict of str to object
    advance : callable
        Called with the number of points after every chunk.
    """
    density, shape, points = state.density, state.which.shape, state.points()
    names = [factor.name for factor in design.groups]
    first, p = density.elimination.first.position, len(density.residual.prior) - 1
    statistics = density.statistics
    lazy = statistics.n_levels[first] * statistics.n_effects[first] * np.prod(shape) > allowed().stored
    common = np.empty((p + packed_size(p), len(points.s))) if lazy and len(names) == 1 else None
    coefficients = draw_coefficients(density, points, names, seed, advance, common=common)
    values, means = common_values(design, density.units, coefficients.gamma, coefficients.gamma_mean, shape)
    sigma = np.exp(points.s)
    values["sigma"] = (density.units.scaling.y_scale * sigma)[points.which].reshape(shape)
    roots = [root * sigma for root in points.roots]
    values |= covariance_values(design, density.units, roots, points.which, shape)
    for f, b in later_effects(density, coefficients.later).items():
        values[f"b_{names[f]}"] = by_draw(b.swapaxes(0, 1), shape)
    for f, b in later_effects(density, coefficients.later_mean.mean(axis=1)).items():
        means[f"b_{names[f]}"] = b.T
    source = FirstEffects(density, points, coefficients, (seed, "effects", names[first]))
    name = f"b_{names[first]}"

    def draw() -> np.ndarray:
        b = source.draw(np.arange(source.n_levels))
        return b.reshape(*shape, *b.shape[1:])

    stats = {
        "lp": state.log_joint[state.which],
        "acceptance_rate": acceptance,
        "diverging": np.zeros(shape, dtype=bool),
    }
    every = values | ({} if lazy else {name: draw})
    return Draws(
        Values({key: every[key] for key in layout(design, Gaussian(Identity())) if key in every}),
        stats,
        diagnostics,
        Values(means | ({} if lazy else {name: lambda: source.mean})),
        replace(state, common=common),
        {names[first]: source} if lazy else {},
        exact=frozenset(f"b_{name}" for name in names),
    )
