"""The figure of `calibration.py`: empirical distribution of ranks less the uniform one, a panel per parameter."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from calibration_bands import band, counts_below, outside
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

matplotlib.use("Agg")

COLOURS = {"lkj": "#D55E00", "independent": "#0072B2"}  # Okabe & Ito
TITLES = {
    "Intercept": "Intercept",
    "beta": "slope of x",
    "sigma": "residual sd",
    "sd_g[0]": "sd of group intercepts",
    "sd_g[1]": "sd of group slopes",
    "corr_g[0]": "correlation of the two",
    "b_g[0]": "intercept of group 1",
    "b_g[1]": "slope of group 1",
    "log_likelihood": "joint log likelihood",
}


def draw(found: pd.DataFrame, coverage: float, title: str, path: Path) -> None:
    """Three panels a row, group priors in two colours, their simultaneous band in grey."""
    figure, axes = plt.subplots(3, 3, figsize=(10, 7.6), sharex=True, sharey=True, layout="constrained")
    for axis, (name, words) in zip(axes.flat, TITLES.items(), strict=True):
        _panel(axis, found[found["parameter"] == name], coverage)
        axis.set_title(words, fontsize=10, loc="left")
    n_ranks = int(found["of"].iloc[0])
    sizes = found.groupby("group prior")["seed"].nunique()
    farthest = np.abs(axes[0, 0].get_ylim()).max()  # of all panels, which share it
    axes[0, 0].set(xlim=(0, 1), xticks=(0, 0.25, 0.5, 0.75, 1), ylim=(-farthest, farthest))
    axes[0, 0].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    figure.supxlabel(f"$u$: rank of the true value among {n_ranks - 1} posterior draws, from 0 to 1", fontsize=10)
    figure.supylabel("share of replications with a rank below $u$, less $u$", fontsize=10)
    handles: list[Artist] = [
        Line2D([], [], color=COLOURS[name], label=f'group_prior="{name}" ({sizes[name]} replications)')
        for name in COLOURS
    ]
    handles.append(Patch(color="0.88", label=f"simultaneous {coverage:.0%} band"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=9, title=title)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(axis: Axes, mine: pd.DataFrame, coverage: float) -> None:
    """One parameter; points outside of the band have dots."""
    axis.axhline(0, color="0.6", linewidth=0.8, zorder=1)
    for group_prior, colour in COLOURS.items():
        ranks = mine.loc[mine["group prior"] == group_prior, "rank"].to_numpy()
        if len(ranks) == 0:
            continue
        n, n_ranks = len(ranks), int(mine["of"].iloc[0])
        z = np.arange(1, n_ranks) / n_ranks
        low, high = (edge / n - z for edge in band(n, n_ranks, coverage))
        axis.fill_between(z, low, high, color="0.88", linewidth=0, zorder=0)
        difference = counts_below(ranks, n_ranks) / n - z
        axis.plot(np.r_[0, z, 1], np.r_[0, difference, 0], color=colour, linewidth=1.2, zorder=2)
        out = outside(ranks, n_ranks, coverage)
        axis.plot(z[out], difference[out], "o", color=colour, markersize=4, zorder=3)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
