"""Kept states become `Draws`: everything is brought to the user's scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.posterior.draws import Draws, layout
from bayesmixed.sampling.transport.model import Prepared

if TYPE_CHECKING:
    from bayesmixed.sampling.transport.run import Kept


def assemble(
    prepared: Prepared, design: Design | DesignSpec, kept: Kept, chains: int, diagnostics: dict[str, Any]
) -> Draws:
    """Draws of the first `chains` chains, on the user's scale."""
    w = by_draw(kept.w, chains)
    shape = w.shape[1:]
    x = by_draw(kept.x, chains)
    values = _parameters(prepared, design, x.reshape(len(x), -1), shape)
    values |= _effects(prepared, design, w.reshape(len(w), -1), shape)
    stats = {
        "lp": np.array(kept.log_density)[:, :chains].T,
        "acceptance_rate": np.array(kept.acceptance)[:, :chains].T,
        "diverging": np.array(kept.divergent)[:, :chains].T > 0,
    }
    return Draws({key: values[key] for key in layout(design, prepared.rows.family.auxiliary)}, stats, diagnostics)


def by_draw(values: list[np.ndarray], chains: int) -> np.ndarray:
    """States (k, C) per draw as (k, chain, draw)."""
    return np.array([state[:, :chains] for state in values]).transpose(1, 2, 0)


def _effects(
    prepared: Prepared, design: Design | DesignSpec, w: np.ndarray, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Common and group effects of draws (size, S)."""
    units, arrangement = prepared.units, prepared.rows.layout
    gamma = prepared.common_mean[:, None] + prepared.common_root @ arrangement.common(w)
    intercept, beta = units.common_effects(gamma)
    values = {"beta": _shaped(beta, shape)}
    if intercept is not None:
        values["Intercept"] = intercept.reshape(shape)
    for i, f in enumerate(arrangement.factors):
        b = units.group_effects(f, arrangement.own(w, i))
        values[f"b_{design.groups[f].name}"] = _shaped(b.swapaxes(0, 1), shape)
    return values


def _parameters(
    prepared: Prepared, design: Design | DesignSpec, x: np.ndarray, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Standard deviations, correlations and auxiliary parameters of draws (d, S)."""
    points = prepared.parameters.at(x)
    values = {name: own.reshape(shape) for name, own in points.auxiliary.items()}
    for f, factor in enumerate(design.groups):
        sd, R = prepared.units.group_covariance(f, points.roots[f])
        values[f"sd_{factor.name}"] = _shaped(sd, shape)
        if factor.pairs:
            rows, columns = np.transpose(factor.pairs)
            values[f"corr_{factor.name}"] = _shaped(R[rows, columns], shape)
    return values


def _shaped(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Arrays (..., S) of draws as (chain, draw, ...)."""
    return np.ascontiguousarray(np.moveaxis(values, -1, 0)).reshape(*shape, *values.shape[:-1])
