"""Turn kept states into `Draws`: everything is converted to the user's scale."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bayesmixed.chunks import allowed, chunks
from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.posterior.draws import Draws, layout
from bayesmixed.sampling.shared import by_draw, covariance_values
from bayesmixed.sampling.transport.model import Prepared


@dataclass
class Kept:
    """The states that are kept, one per draw, of the C running chains.

    Attributes
    ----------
    w : list of numpy.ndarray of shape (size, C)
    x : list of numpy.ndarray of shape (d, C)
    log_density, acceptance, divergent : list of numpy.ndarray of shape (C,)
        The acceptance is averaged over the trajectories since the previous draw; divergences are counted.
    """

    w: list[np.ndarray] = field(default_factory=list)
    x: list[np.ndarray] = field(default_factory=list)
    log_density: list[np.ndarray] = field(default_factory=list)
    acceptance: list[np.ndarray] = field(default_factory=list)
    divergent: list[np.ndarray] = field(default_factory=list)

    def halve(self) -> None:
        """Keep every second draw."""
        for name in ("acceptance", "divergent"):
            values = getattr(self, name)
            pairs = zip(values[::2], values[1::2], strict=False)
            setattr(self, name, [(a + b) / 2 if name == "acceptance" else a + b for a, b in pairs])
        self.w, self.x, self.log_density = self.w[1::2], self.x[1::2], self.log_density[1::2]


def assemble(
    prepared: Prepared, design: Design | DesignSpec, kept: Kept, chains: int, diagnostics: dict[str, Any]
) -> Draws:
    """Draws of the first `chains` chains, on the user's scale."""
    x = states_by_draw(kept.x, chains)
    shape = x.shape[1:]
    values = _parameters(prepared, design, x.reshape(len(x), math.prod(shape)), shape)
    values |= _effects(prepared, design, kept.w, chains)
    family = prepared.rows.family
    values = family.reported(values)
    stats = {
        "lp": np.array(kept.log_density)[:, :chains].T,
        "acceptance_rate": np.array(kept.acceptance)[:, :chains].T,
        "diverging": np.array(kept.divergent)[:, :chains].T > 0,
    }
    return Draws({key: values[key] for key in layout(design, family)}, stats, diagnostics)


def states_by_draw(values: list[np.ndarray], chains: int, rows: slice = slice(None)) -> np.ndarray:
    """Some rows of states (k, C) per draw as (rows, chain, draw)."""
    return np.array([state[rows, :chains] for state in values]).transpose(1, 2, 0)


def _effects(
    prepared: Prepared, design: Design | DesignSpec, w: list[np.ndarray], chains: int
) -> dict[str, np.ndarray]:
    """Common and group effects of draws, a list of (size, C); a few draws at a time, as there may be many effects."""
    units, arrangement = prepared.units, prepared.rows.layout
    common = states_by_draw(w, chains, slice(arrangement.offsets[-1], None))
    shape = common.shape[1:]
    gamma = prepared.common_mean[:, None] + prepared.common_root @ common.reshape(len(common), math.prod(shape))
    intercept, beta = units.common_effects(gamma)
    values = {"beta": by_draw(beta, shape)}
    if intercept is not None:
        values["Intercept"] = intercept.reshape(shape)
    for i, f in enumerate(arrangement.factors):
        q, J = arrangement.n_effects[i], arrangement.n_levels[i]
        own, b = slice(arrangement.offsets[i], arrangement.offsets[i + 1]), np.empty((*shape, J, q))
        for some in chunks(shape[1], q * J * chains, allowed().working):
            working = states_by_draw(w[some], chains, own)
            effects = units.group_effects(f, working.reshape(q, J, -1))
            b[:, some] = effects.reshape(q, J, *working.shape[1:]).transpose(2, 3, 1, 0)
        values[f"b_{design.groups[f].name}"] = b
    return values


def _parameters(
    prepared: Prepared, design: Design | DesignSpec, x: np.ndarray, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Standard deviations, correlations and auxiliary parameters of draws (d, S)."""
    points = prepared.parameters.at(x)
    values = {name: own.reshape(shape) for name, own in points.auxiliary.items()}
    which = np.arange(x.shape[1])
    return values | covariance_values(design, prepared.units, points.roots, which, shape)
