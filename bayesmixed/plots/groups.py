"""Pictures of a grouping factor: the rows of each level and the effects of all levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayesmixed.design.factors import GroupFactor
from bayesmixed.design.labels import label_key, label_text
from bayesmixed.design.table import Table
from bayesmixed.errors import quoted
from bayesmixed.plots.shared import (
    BLACK,
    BLUE,
    GREY,
    MAX_PANELS,
    SKY,
    finish,
    height_of_levels,
    level_texts,
    literal,
    name_levels,
    on_scale,
    panels,
    percent,
    read_factor,
    read_rows,
    response_ticks,
)
from bayesmixed.posterior.tables import tails

if TYPE_CHECKING:
    from bayesmixed.estimators.regressor import MixedModelRegressor


def group_lattice(
    est: MixedModelRegressor,
    X: Any,
    y: Any = None,
    *,
    x: str,
    factor: str | None = None,
    levels: Any = None,
    coverage: float = 0.9,
    axes: Any = None,
) -> np.ndarray:
    """Draw data, predictions and their intervals against one column, with a panel for each level of a grouping factor.

    Parameters
    ----------
    est : MixedModelRegressor
        Fitted.
    X : DataFrame of shape (n, k)
        The rows to draw, from the fit or new ones. Lines join the predictions of a level's rows in the order of `x`;
        they are smooth if no other column varies within the level.
    y : array-like of shape (n,), optional
        The response; with a two-sided formula None takes the left-hand column of X.
    x : str
        The horizontal axis, a numeric column of X.
    factor : str, optional
        Default: the only grouping factor.
    levels : list of labels, optional
        The levels to draw, in this order. Default: all levels in X, ordered by the posterior mean of their effect of
        `x`, else of the Intercept, else as in the posterior; new levels come last.
    coverage : float, default=0.9
        Probability of the intervals, in (0, 1).
    axes : Axes or array-like of Axes, optional
        One for each level. Default: those of a new figure.

    Returns
    -------
    numpy.ndarray of Axes, shape (n_levels,)
        The bands are ``est.predict_interval`` of a new observation and of the mean, the dashed line is the
        prediction without the effects of `factor`. For successes among trials, everything is shown as shares, as
        numbers of successes cannot be compared between rows with different trials. For two classes, everything is
        shown as probabilities of the second, with data at 0 and 1.

    Raises
    ------
    ValueError
        An unknown factor, column or level; a response that the family does not allow; more than two classes; rows
        without a label; more than 30 levels, unless `levels` names them; a wrong number of axes.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> import bayesmixed as bm
    >>> from bayesmixed import plots
    >>> df = bm.datasets.load_sleepstudy()
    >>> est = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0).fit(df)
    >>> axes = plots.group_lattice(est, df, x="Days")
    >>> axes[0].get_title(), axes[17].get_title()  # the smallest and the largest slope
    ('Subject 335', 'Subject 308')
    >>> import matplotlib.pyplot as plt
    >>> plt.close(axes[0].figure)
    """
    frame, observed, _, response = read_rows(est, X, y)
    name = read_factor(est, factor).name
    design, family = est.design_spec_.apply(frame, (name,)), est._posterior.family
    group, trials = design.groups[0], np.ones(len(frame)) if design.trials is None else design.trials
    family.check(observed, design.trials)
    if family.mean_shape:
        raise ValueError(
            f"group_lattice draws a single mean, but the classes {quoted(family.classes)} have one each. Draw "
            "est.predict_interval(X), of shape (n, K, 2), class by class."
        )
    numbers = _read_column(frame, x)
    chosen, texts = _choose_levels(est, group, x, levels)
    rows = np.flatnonzero(np.isin(group.codes, chosen))
    rows = rows[np.argsort(numbers[rows], kind="stable")]
    codes, numbers, frame, trials = group.codes[rows], numbers[rows], frame.iloc[rows], trials[rows]
    observed = observed[rows] / trials
    bands = [
        (f"{percent(coverage)} interval, {of}", est.predict_interval(frame, coverage, kind) / trials[:, None], alpha)
        for of, kind, alpha in (("new observation", "response", 0.15), ("mean", "mean", 0.35))
        if kind == "mean" or not family.classes  # an interval of a new row's class nearly always contains both
    ]
    mean = _mean(est, frame) / trials
    others = [group.name for group in est.design_spec_.groups if group.name != name]
    average = _mean(est, frame, others) / trials
    width = max(2.0, min(12 / len(chosen), 5.0))
    axes, figure = panels(axes, len(chosen), (width, 0.9 * width), sharex=True, sharey=True)
    if figure is not None:  # few ticks, and whole numbers for whole-number responses
        whole = bool(np.all(numbers == np.round(numbers)))
        axes[0].locator_params(axis="x", nbins=4, steps=[1, 2, 3, 5, 10], integer=whole)
    for ax, level, text in zip(axes, chosen, texts, strict=True):
        mine = codes == level
        at = numbers[mine]
        # at a single point a band is only as wide as its edge, and a line as its marker
        edge, marker = (0, "") if np.ptp(at) else (6, "_")
        for label, ends, alpha in bands:
            ax.fill_between(at, *ends[mine].T, color=BLUE, alpha=alpha, linewidth=edge, label=label)
        ax.plot(at, mean[mine], color=BLUE, linewidth=2, marker=marker, label="posterior mean")
        ax.plot(at, average[mine], "--", color="0.2", linewidth=1, marker=marker, label=literal(f"average {name}"))
        ax.plot(at, observed[mine], "o", color=BLACK, markersize=3.5, label="data")
        ax.set_title(literal(f"{name} {text}"), fontsize="medium")
    ends = np.array([ax.get_ylim() for ax in axes])
    for ax in axes:  # levels are meant to be compared, on a user's axes too
        ax.set_ylim(ends[:, 0].min(), ends[:, 1].max())
        if design.trials is None and not family.classes:
            response_ticks(ax.yaxis, family)
    if family.classes:
        response = f"P({response} = {family.classes[1]})"
    finish(axes, figure, x, response if design.trials is None else f"{response} / {est.design_spec_.trials}")
    return axes


def _mean(est: Any, frame: pd.DataFrame, include_groups: bool | list[str] = True) -> np.ndarray:
    """Mean of the response, (n,); for two classes, the probability of the second."""
    if est._posterior.family.classes:
        return est.predict_proba(frame, include_groups)[:, 1]
    return est.predict(frame, include_groups=include_groups)


def caterpillar(
    est: MixedModelRegressor,
    factor: str | None = None,
    *,
    effect: str | None = None,
    coverage: float = 0.9,
    axes: Any = None,
) -> np.ndarray:
    """Draw the effects of all levels of a grouping factor, sorted by posterior mean, with two intervals.

    Parameters
    ----------
    est : MixedModelRegressor
        Fitted.
    factor : str, optional
        Default: the only grouping factor.
    effect : str, optional
        E.g. ``"Days"``. Default: all effects of the factor, each in its own panel with its own order.
    coverage : float, default=0.9
        Probability of the thin interval, in (0, 1); that of the thick one is 0.5.
    axes : Axes or array-like of Axes, optional
        One for each effect. Default: those of a new figure.

    Returns
    -------
    numpy.ndarray of Axes, shape (n_effects,)
        Levels are named if there is room, up to 60 in a new figure. Effects are on the scale of the linear predictor,
        which the label of the horizontal axis names if it is not that of the response.

    Raises
    ------
    ValueError
        An unknown factor or effect; a `coverage` outside (0, 1); a wrong number of axes.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> import bayesmixed as bm
    >>> from bayesmixed import plots
    >>> df = bm.datasets.load_sleepstudy()
    >>> est = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0).fit(df)
    >>> axes = plots.caterpillar(est)
    >>> [ax.get_title() for ax in axes]
    ['Intercept', 'Days']
    >>> import matplotlib.pyplot as plt
    >>> plt.close(axes[0].figure)
    """
    group = read_factor(est, factor)
    if effect is not None and effect not in group.effect_names:
        raise ValueError(
            f"effect must be one of {quoted(group.effect_names)}, the effects of {group.name!r}, got {effect!r}."
        )
    probabilities = [*tails(coverage), *tails(0.5)]
    draws, texts = est._posterior.draws, level_texts(group.levels)
    means = draws.mean(f"b_{group.name}")
    ends = np.empty((4, *means.shape))
    for levels, b in draws.all_effects(group):
        ends[:, levels] = np.quantile(b, probabilities, axis=0)
    effects = group.effect_names if effect is None else (effect,)
    axes, figure = panels(axes, len(effects), (4.5, height_of_levels(len(means))), n_rows=1)
    places = np.arange(len(means))
    thin = max(0.3, min(1.5, 90 / len(means)))  # lines of many levels are close together
    for ax, name in zip(axes, effects, strict=True):
        mean = means[:, k := group.effect_names.index(name)]
        order = np.argsort(mean, kind="stable")
        low, high, lower_quartile, upper_quartile = ends[:, order, k]
        ax.axvline(0, color=GREY, linewidth=1)
        ax.hlines(places, low, high, color=SKY, linewidth=thin, label=f"{percent(coverage)} interval")
        ax.hlines(places, lower_quartile, upper_quartile, color=BLUE, linewidth=2.5 * thin, label="50 % interval")
        ax.plot(mean[order], places, "o", color=BLACK, markersize=max(0.8, 3 * thin), label="posterior mean")
        ax.set_title(literal(name), fontsize="medium")
        name_levels(ax, group.name, [texts[level] for level in order])
    finish(axes, figure, on_scale("group effect", est))
    return axes


def _read_column(frame: pd.DataFrame, x: str) -> np.ndarray:
    """A column of numbers, (n,)."""
    numeric = [name for name, dtype in frame.dtypes.items() if pd.api.types.is_numeric_dtype(dtype)]
    found = Table.read(frame, (x,)).values(x) if x in frame.columns else None
    if found is None or found.dtype.kind not in "bf":
        raise ValueError(f"x must be a numeric column of X, one of {quoted(numeric)}, got {x!r}.")
    return found.astype(float)


def _choose_levels(est: MixedModelRegressor, group: GroupFactor, x: str, levels: Any) -> tuple[np.ndarray, list[str]]:
    """Codes of the levels to draw, fitted ones and new ones, and their texts."""
    if missing := np.count_nonzero(group.codes < 0):
        raise ValueError(f"{missing} rows of X have no label of {group.name!r} and thus no panel; drop them.")
    present = np.unique(group.codes)
    texts = [*level_texts(group.levels), *level_texts(group.new_labels)]
    if levels is not None:
        chosen = _find_levels(group, present, texts, levels)
    elif len(present) > MAX_PANELS:
        raise ValueError(
            f"X has {len(present)} levels of {group.name!r}, but more than {MAX_PANELS} panels are too small to read; "
            "pass a list of those to draw as levels=."
        )
    else:
        fitted, new = np.split(present, [np.searchsorted(present, len(group.levels))])
        by = [name for name in (x, "Intercept") if name in group.effect_names]
        if by:
            means = est._posterior.draws.mean(f"b_{group.name}")[fitted, group.effect_names.index(by[0])]
            fitted = fitted[np.argsort(means, kind="stable")]
        chosen = np.concatenate([fitted, new])
    return chosen, [texts[code] for code in chosen]


def _find_levels(group: GroupFactor, present: np.ndarray, texts: list[str], levels: Any) -> np.ndarray:
    """Codes of the levels that a user names, among those with rows."""

    def key(label: Any) -> str:
        return label_key(label_text(label) if isinstance(label, tuple) else label)

    wanted = [] if isinstance(levels, str) or not np.iterable(levels) else list(levels)
    if not wanted:
        raise ValueError(f"levels must be a list of labels of {group.name!r}, or None for all, got {levels!r}.")
    labels = [*group.levels, *group.new_labels]
    codes = {key(labels[code]): code for code in present}
    if unknown := [level for level in wanted if key(level) not in codes]:
        known = quoted((texts if group.levels.dtype.kind == "M" else labels)[code] for code in present)
        raise ValueError(f"X has no rows of {group.name!r} {quoted(unknown)}; it has rows of {known}.")
    return np.array([codes[key(level)] for level in wanted])
