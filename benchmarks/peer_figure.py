"""The figure of `peers.py`: seconds of a fresh process by problem, a marker per library."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

matplotlib.use("Agg")

# Okabe & Ito's colours; samplers filled, libraries that only estimate hollow
STYLE: dict[str, tuple[str, str, bool]] = {
    "bayesmixed": ("#D55E00", "o", True),
    "bayesmixed, with `idata_`": ("#D55E00", "D", True),
    "bayesmixed, NUTS": ("#E69F00", "s", True),
    "bayesmixed, nutpie": ("#E69F00", "^", True),
    "PyMC": ("#0072B2", "s", True),
    "Bambi": ("#56B4E9", "s", True),
    "Bambi, nutpie": ("#56B4E9", "^", True),
    "rstanarm": ("#009E73", "P", True),
    "lme4": ("0.25", "v", False),
    "statsmodels": ("0.25", "s", False),
    "GPBoost": ("0.25", "D", False),
    "glmm": ("#CC79A7", "o", False),
    "glmmTMB": ("#CC79A7", "v", False),
}


def draw(runs: pd.DataFrame, path: Path) -> None:
    """One row per problem, libraries below each other within it; an arrow is over the limit."""
    runs = runs[runs["fresh_container"].notna() | _over(runs)]
    problems = list(runs["problem"].unique())
    present = [name for name in STYLE if name in set(runs["library"])]
    step = 0.8 / max(1, len(present) - 1)
    figure, axis = plt.subplots(figsize=(10, 1.6 + 0.95 * len(problems)), layout="constrained")
    for row, problem in enumerate(problems):
        axis.axhspan(row - 0.5, row + 0.5, color="0.96" if row % 2 else "white", linewidth=0, zorder=0)
        here = runs[runs["problem"] == problem].set_index("library")
        for place, library in enumerate(present):
            if library in here.index:
                _point(axis, here.loc[[library]], STYLE[library], row - 0.4 + place * step)
    axis.set(xscale="log", xlabel="Seconds from the start of a process to its posterior, or to its estimates (hollow)")
    axis.set(yticks=range(len(problems)), yticklabels=problems, ylim=(len(problems) - 0.5, -0.5))
    for limit in runs.loc[_over(runs), "limit"].unique():
        axis.axvline(limit, color="0.6", linewidth=0.8, linestyle=":", zorder=1)
        axis.set_xlim(right=max(axis.get_xlim()[1], limit * 1.6))
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.grid(axis="x", color="0.88", linewidth=0.6, zorder=0)
    axis.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    figure.legend(handles=_handles(present), loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _over(runs: pd.DataFrame) -> pd.Series:
    """Runs that were stopped at the limit, or not started as a smaller problem was."""
    return runs["status"].str.contains("over the limit")


def _point(axis: plt.Axes, mine: pd.DataFrame, style: tuple[str, str, bool], y: float) -> None:
    colour, marker, filled = style
    seconds = mine["fresh_container"].dropna()
    look = {"color": colour, "markerfacecolor": colour if filled else "white", "markersize": 6, "zorder": 3}
    if len(seconds):
        axis.plot([seconds.min(), seconds.max()], [y, y], color=colour, linewidth=1, zorder=2)
        axis.plot(seconds.median(), y, marker, **look)
    else:
        limit = mine["limit"].iloc[0]
        arrow = {"arrowstyle": "->", "color": colour, "linewidth": 1, "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", (limit * 1.45, y), (limit, y), arrowprops=arrow)
        axis.plot(limit, y, marker, **look)


def _handles(present: list[str]) -> list[Line2D]:
    handles = []
    for name in present:
        colour, marker, filled = STYLE[name]
        face = colour if filled else "white"
        handles.append(
            Line2D([], [], marker=marker, linestyle="", color=colour, markerfacecolor=face, label=name.replace("`", ""))
        )
    return handles
