"""What all pictures share: panels, legends, names of levels, and reading a user's rows and factors."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from bayesmixed.design.factors import GroupSpec
from bayesmixed.design.frames import read_response, row_labels, to_pandas
from bayesmixed.design.labels import label_text
from bayesmixed.errors import quoted
from bayesmixed.estimators.inputs import as_frame, read_weights, rows_that_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure

    from bayesmixed.estimators.regressor import MixedModelRegressor
    from bayesmixed.families.base import Family

# Okabe & Ito's colours, which colour-blind readers can tell apart
BLUE, SKY, ORANGE, BLACK, GREY = "#0072B2", "#56B4E9", "#D55E00", "#000000", "0.6"
MAX_PANELS = 30  # most panels of a legible figure
_SMALLEST = 5  # points, for a legible letter
_LETTER = 6.2  # average width of a letter in a title, in points
_TIE = "\u00a0"  # a space without a line break
_WIDE = 1.8  # ratio of columns to rows of a figure's panels


def panels(
    axes: Any, count: int, size: tuple[float, float], n_rows: int | None = None, **shared: bool
) -> tuple[np.ndarray, Figure | None]:
    """Check the given axes, or make a figure.

    Parameters
    ----------
    axes : Axes, array-like of Axes of any shape, or None
    count : int
    size : tuple of float
        Width and height of a new panel, in inches.
    n_rows : int, optional
        For a new figure.
    **shared
        ``sharex``, ``sharey``.

    Returns
    -------
    axes : numpy.ndarray of Axes, shape (count,)
    figure : Figure or None
        The new one.

    Raises
    ------
    ValueError
        A wrong number of axes, or something that is not an Axes.
    ImportError
        matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('plots need matplotlib, an optional dependency: pip install "bayesmixed[plots]".') from error
    if axes is not None:
        given = np.ravel(np.asarray(axes, dtype=object))
        if len(given) != count or not all(isinstance(ax, plt.Axes) for ax in given):
            kinds = dict.fromkeys(type(ax).__name__ for ax in given)
            wanted = "an Axes" if count == 1 else f"{count} Axes, one for each panel, in a list or an array"
            raise ValueError(f"expected {wanted}, got {len(given)} of type {quoted(kinds)}.")
        return given, None
    n_rows = n_rows or min(range(1, count + 1), key=lambda rows: _cost_of(rows, count))
    n_columns = -(-count // n_rows)
    figsize = (n_columns * size[0], n_rows * size[1])
    figure, grid = plt.subplots(n_rows, n_columns, figsize=figsize, squeeze=False, layout="constrained", **shared)
    for spare in grid.flat[count:]:
        spare.remove()
    for ax in grid.flat[count - n_columns : (n_rows - 1) * n_columns]:  # above an unused panel, whose place it takes
        ax.tick_params(labelbottom=True)
        ax.xaxis.set_in_layout(False)
    return grid.ravel()[:count], figure


def _cost_of(n_rows: int, count: int) -> float:
    """How far a grid of panels is from a good shape, including unused panels."""
    n_columns = -(-count // n_rows)
    return abs(np.log(n_columns / n_rows / _WIDE)) + 0.2 * (n_rows * n_columns - count)


def literal(text: str) -> str:
    """Escape a user's text for matplotlib, so that a dollar sign does not start a formula."""
    return text.replace("$", r"\$")


def wrapped(text: str, inches: float) -> str:
    """Break a title into lines no wider than a panel, after words and colons where possible."""
    room = max(10, int(72 * inches / _LETTER))
    tied = re.sub(r" = |(?<=\.\.\.) | more\)|(?<= [+-]) ", lambda found: found[0].replace(" ", _TIE), text)
    lines = [""]
    for piece in re.split(r"(?<=[ :])", tied):
        if lines[-1] and len(lines[-1] + piece.rstrip()) > room:
            lines.append("")
        lines[-1] += piece
    return "\n".join(part for line in lines for part in textwrap.wrap(line, room, break_on_hyphens=False)).replace(
        _TIE, " "
    )


def on_scale(text: str, est: MixedModelRegressor) -> str:
    """Name a part of the linear predictor, with its scale if that is not the response's."""
    scale = est._posterior.family.scale_name
    return text if scale == "identity" else f"{text} on the {scale} scale"


def response_ticks(axis: XAxis | YAxis, family: Family) -> None:
    """Put ticks only at whole numbers if the response is one, and at names of classes if it has these.

    Whole numbers are enforced only if matplotlib chooses the places.
    """
    from matplotlib.ticker import MaxNLocator

    locator = axis.get_major_locator()
    if family.classes:
        axis.set_ticks(range(len(family.classes)), [literal(str(label)) for label in family.classes])
    elif family.discrete and isinstance(locator, MaxNLocator):
        locator.set_params(integer=True, min_n_ticks=1)


def finish(axes: np.ndarray, figure: Figure | None, x_label: str, y_label: str = "") -> None:
    """Label the axes; in a new figure, label only the outer panels and add a legend below."""
    x_label, y_label = literal(x_label), literal(y_label)
    for at, ax in enumerate(axes):
        cell = ax.get_subplotspec()
        if figure is None or at + cell.get_gridspec().ncols >= len(axes):
            ax.set_xlabel(x_label)
        if y_label and (figure is None or cell.is_first_col()):
            ax.set_ylabel(y_label)
    if figure is not None:
        handles, labels = axes[0].get_legend_handles_labels()
        columns = max(1, int(figure.get_figwidth() / 2.15))  # width of an entry in inches
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize="small")


def name_levels(ax: Axes, factor: str, texts: list[str]) -> None:
    """Give each level a line of the vertical axis, with its name if there is room."""
    points = 72 * ax.bbox.height / ax.figure.dpi / len(texts)
    size = min(9, 0.85 * points)
    if size >= _SMALLEST:
        ax.set_yticks(range(len(texts)), labels=[literal(text) for text in texts], fontsize=size)
        ax.set_ylabel(literal(factor))
    else:
        ax.set_yticks([])
        ax.set_ylabel(literal(f"{factor} ({len(texts)} levels)"))
    margin = max(0.7, 0.01 * len(texts))
    ax.set_ylim(-margin, len(texts) - 1 + margin)


def height_of_levels(count: int) -> float:
    """Height in inches of a panel with a line per level: room for up to 60 names, and no names beyond that."""
    return 1.3 + 0.19 * count if count <= 60 else 6.0


def level_texts(labels: Any) -> list[str]:
    """Levels as text, from an array of fitted ones or a tuple of new ones; dates without nanoseconds."""
    if isinstance(labels, tuple):
        return [label_text(label) for label in labels]
    return pd.Index(labels).astype(str).tolist()


def percent(coverage: float) -> str:
    """Write 0.9 as 90 %."""
    return f"{100 * coverage:g} %"


def check_fitted(est: Any) -> None:
    """Reject what is not fitted, and objects that hold an estimator instead of being one."""
    check_is_fitted(est)
    if not hasattr(est, "design_spec_"):
        raise TypeError(
            f"plots need a fitted MixedModelRegressor, got a {type(est).__name__}; for a pipeline, pass pipe[-1] and "
            "pipe[:-1].transform(X)."
        )


def read_rows(
    est: MixedModelRegressor, X: Any, y: Any, sample_weight: Any = None
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray | None, str]:
    """Read X as a frame, the response, (n,), and weights of the rows that count, and get the name of the response."""
    check_fitted(est)
    spec = est.design_spec_
    frame = as_frame(est, to_pandas(X), spec.columns, reset=False)  # other columns may be drawn
    if len(frame) == 0:
        raise ValueError("X has no rows to draw.")
    y = read_response(frame, y, spec.response, type(est).__name__)
    name = getattr(y, "name", None)
    weights = read_weights(X, sample_weight, spec.formula)
    frame, column, weights, _ = rows_that_count(row_labels(X), frame, y, weights)
    return frame, est._read_response(column), weights, str(spec.response or "y") if name is None else str(name)


def read_factor(est: MixedModelRegressor, factor: str | None) -> GroupSpec:
    """The grouping factor with a given name, or the only one.

    Raises
    ------
    ValueError
        No factor has that name, or no name is given and the model has several factors or none.
    """
    check_fitted(est)
    spec = est.design_spec_
    if factor is None and len(spec.groups) > 1:
        names = quoted(group.name for group in spec.groups)
        raise ValueError(f"the model has several grouping factors; pass factor=, one of {names}.")
    return spec.groups[0] if factor is None and spec.groups else spec.group(factor)  # type: ignore[arg-type]
