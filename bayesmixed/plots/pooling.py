"""A picture of partial pooling: the coefficients of every level next to its own least-squares fit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesmixed.design.factors import GroupFactor
from bayesmixed.plots.shared import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    finish,
    height_of_levels,
    level_texts,
    literal,
    name_levels,
    on_scale,
    panels,
    read_factor,
    read_rows,
)
from bayesmixed.posterior import tables
from bayesmixed.posterior.draws import Draws
from bayesmixed.prediction.new_groups import is_new
from bayesmixed.prediction.predict import linear_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmixed.estimators.regressor import MixedModelRegressor

MAX_NAMES = 30  # most arrows of a plane that are named
# a ring remains visible around the dot where pooling changes nothing
NO_POOLING: dict[str, Any] = {"marker": "o", "linestyle": "", "color": ORANGE, "markerfacecolor": "none"}
NO_POOLING["label"] = "no pooling: least squares"
PARTIAL_POOLING: dict[str, Any] = {"marker": "o", "linestyle": "", "color": BLUE}
PARTIAL_POOLING["label"] = "partial pooling: posterior mean"


def shrinkage(
    est: MixedModelRegressor,
    X: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    factor: str | None = None,
    axes: Any = None,
) -> np.ndarray:
    """Draw how partial pooling moves the coefficients of every level away from its own least-squares fit.

    Parameters
    ----------
    est : MixedModelRegressor
        Fitted.
    X : DataFrame of shape (n, k)
        The rows of the fit.
    y : array-like of shape (n,), optional
        The response; with a two-sided formula None takes the left-hand column of X.
    sample_weight : str or array-like of shape (n,), optional
        The weights of the fit.
    factor : str, optional
        Default: the only grouping factor.
    axes : Axes or array-like of Axes, optional
        One for a factor of two effects, otherwise one for each effect. Default: those of a new figure.

    Returns
    -------
    numpy.ndarray of Axes, shape (1,) or (n_effects,)
        For two effects, their plane with an arrow for each level; otherwise a line for each level.

    Raises
    ------
    ValueError
        An unknown factor; rows of levels that were not in the fit; weights in the fit but none here; a wrong number of
        axes; effects that ``est.group_coefficients`` cannot add.
    ImportError
        matplotlib is not installed.

    Notes
    -----
    Partial pooling: the posterior means of ``est.group_coefficients``. No pooling: least squares on the level's own
    rows and the factor's columns, of the response minus everything that the model predicts from other columns and
    factors at their posterior means. Levels with too few or too similar rows for such a fit have no arrow and are
    counted in a title.

    Examples
    --------
    >>> import bayesmixed as bm
    >>> from bayesmixed import plots
    >>> df = bm.datasets.load_sleepstudy()
    >>> est = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0).fit(df)
    >>> (ax,) = plots.shrinkage(est, df)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('Intercept', 'Days')
    >>> import matplotlib.pyplot as plt
    >>> plt.close(ax.figure)
    """
    frame, observed, weights, _ = read_rows(est, X, y, sample_weight)
    if sample_weight is None and est._rows.weight != est._rows.n_rows:
        raise ValueError("the rows of the fit had weights, which least squares needs too; pass sample_weight.")
    name = read_factor(est, factor).name
    group = est.design_spec_.apply(frame, (name,)).groups[0]
    if new := np.count_nonzero(is_new(group)):
        raise ValueError(f"{new} rows of X have a level of {name!r} that was not in the fit, or none; drop them.")
    family = est._posterior.family
    if not (family.linear or family.collapses):
        raise ValueError(
            f"shrinkage compares with least squares of the response, which is not possible on the {family.link.name} "
            f"scale of family={family.name!r}; use group_lattice."
        )
    observed = family.working(observed)
    pooled, common = _coefficients(est, group)
    design, modes = est.design_spec_.apply(frame), dict.fromkeys((g.name for g in est.design_spec_.groups), "zero")
    rest = linear_mean(est._posterior, design, modes) - np.sum(group.Z * pooled[group.codes], axis=1)
    own = _least_squares(group, observed - rest, np.ones(len(frame)) if weights is None else weights)
    texts, names = level_texts(group.levels), group.effect_names
    if len(names) == 2:
        axes, figure = panels(axes, 1, (6.5, 5.5))
        _draw_plane(axes[0], own, pooled, common, name)
        _name_arrows(axes[0], own, pooled, texts)
        finish(axes, figure, *(on_scale(effect, est) for effect in names))
    else:
        axes, figure = panels(axes, len(names), (4.5, height_of_levels(len(pooled))), n_rows=1)
        for k, ax in enumerate(axes):
            _draw_lines(ax, own[:, k], pooled[:, k], common[k], name)
            order = np.argsort(pooled[:, k], kind="stable")
            name_levels(ax, name, [texts[level] for level in order])
            ax.set_title(literal(names[k]), loc="left", fontsize="medium")
        finish(axes, figure, on_scale("coefficient", est))
    if without := np.count_nonzero(np.isnan(own[:, 0])):
        text = f"without a fit of their own: {without} of {len(own)} levels"
        axes[0].set_title(text, loc="right", fontsize="small")
    return axes


def _coefficients(est: MixedModelRegressor, group: GroupFactor) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means of the coefficients (common plus group effect), (n_levels, q), and of their common part, (q,)."""
    draws = est._posterior.draws
    # only tables of the means: those of all draws are slow for ten thousand levels
    names = [name for name in ("Intercept", "thresholds", "beta") if name in draws.values]
    means = Draws({name: draws.mean(name)[None, None] for name in [*names, f"b_{group.name}"]}, {}, {})
    of_means = replace(est._posterior, draws=means)
    pooled = tables.group_coefficients(of_means, group.name)["mean"]
    common = tables.common_effects(of_means).set_index("effect")["mean"]
    common = common.reindex(group.effect_names, fill_value=0.0)
    return pooled.to_numpy().reshape(len(group.levels), -1), common.to_numpy()


def _name_arrows(ax: Axes, own: np.ndarray, pooled: np.ndarray, texts: list[str]) -> None:
    """Write the level's name at the tail of its arrow, on the side away from the head, if there is room for names."""
    if len(texts) > MAX_NAMES:
        return
    for tail, (dx, dy), text in zip(own, pooled - own, texts, strict=True):
        if not np.isnan(dx):
            aside = (-5 if dx > 0 else 5, -5 if dy > 0 else 5)
            align: dict[str, Any] = {"ha": "right" if dx > 0 else "left", "va": "top" if dy > 0 else "bottom"}
            ax.annotate(literal(text), tail, aside, textcoords="offset points", fontsize="small", color="0.3", **align)


def _draw_plane(ax: Axes, own: np.ndarray, pooled: np.ndarray, common: np.ndarray, factor: str) -> None:
    """Coefficients of two effects, (n_levels, 2): arrows from no pooling to partial pooling."""
    size = max(2.0, min(5.0, 300 / len(own)))
    fitted = ~np.isnan(own[:, 0])
    moves = (*own[fitted].T, *(pooled - own)[fitted].T)
    ax.quiver(*moves, angles="xy", scale_units="xy", scale=1, color=GREY, width=size / 2000)
    ax.plot(*own.T, markersize=1.3 * size, **NO_POOLING)
    ax.plot(*pooled.T, markersize=size, **PARTIAL_POOLING)
    ax.plot(*common[:, None], "D", color=BLACK, markersize=8, label=literal(f"average {factor}"))
    ax.margins(0.08)  # room for names


def _draw_lines(ax: Axes, own: np.ndarray, pooled: np.ndarray, common: float, factor: str) -> None:
    """Coefficients of one effect, (n_levels,): lines from no pooling to partial pooling, sorted by the latter."""
    order, places = np.argsort(pooled, kind="stable"), np.arange(len(pooled))
    size = max(1.0, min(5.0, 300 / len(pooled)))
    ax.hlines(places, own[order], pooled[order], color=GREY, linewidth=size / 5)
    ax.plot(own[order], places, markersize=1.3 * size, **NO_POOLING)
    ax.plot(pooled[order], places, markersize=size, **PARTIAL_POOLING)
    ax.axvline(common, color=BLACK, linewidth=1, zorder=1, label=literal(f"average {factor}"))


def _least_squares(group: GroupFactor, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Coefficients of every level from its own rows, (n_levels, q); NaN where the rows do not determine them."""
    own = np.full((len(group.levels), group.Z.shape[1]), np.nan)
    scale = np.sqrt(np.mean(np.square(group.Z), axis=0))
    scale[scale == 0] = 1.0
    root = np.sqrt(weights)
    levels, starts = np.unique(np.sort(group.codes), return_index=True)
    for level, rows in zip(levels, np.split(np.argsort(group.codes, kind="stable"), starts[1:]), strict=True):
        solution, _, rank, _ = np.linalg.lstsq(
            root[rows, None] * group.Z[rows] / scale, root[rows] * target[rows], rcond=1e-10
        )
        if rank == len(scale):
            own[level] = solution / scale
    return own
