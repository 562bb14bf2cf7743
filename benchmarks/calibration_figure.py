"""The figures of `calibration.py`: distributions and histograms of ranks, a panel per parameter."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from calibration_bands import band, counts_below, histogram, histogram_band, outside
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
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
    """Distributions of ranks less the uniform one, and their simultaneous band in grey."""
    n_ranks = int(found["of"].iloc[0])
    figure, axes = _panels(found, coverage, title, _distribution)
    farthest = np.abs(axes[0, 0].get_ylim()).max()  # of all panels, which share it
    axes[0, 0].set(xticks=(0, 0.25, 0.5, 0.75, 1), ylim=(-farthest, farthest))
    figure.supxlabel(f"$u$: rank of the true value among {n_ranks - 1} posterior draws, from 0 to 1", fontsize=10)
    figure.supylabel("share of replications with a rank below $u$, less $u$", fontsize=10)
    _save(figure, path)


def draw_histograms(found: pd.DataFrame, n_bins: int, coverage: float, title: str, path: Path) -> None:
    """Histograms of the same ranks in equal bins, and their simultaneous band in grey."""
    n_ranks = int(found["of"].iloc[0])
    figure, axes = _panels(found, coverage, title, partial(_histogram, n_bins=n_bins))
    axes[0, 0].set(xticks=(0, 0.25, 0.5, 0.75, 1), ylim=(0, axes[0, 0].get_ylim()[1]))
    figure.supxlabel(f"rank of the true value among {n_ranks - 1} posterior draws, from 0 to 1", fontsize=10)
    figure.supylabel(f"replications in each of {n_bins} bins", fontsize=10)
    _save(figure, path)


def _panels(found: pd.DataFrame, coverage: float, title: str, panel: Callable[..., None]) -> tuple[Figure, np.ndarray]:
    """Three panels a row, one for each parameter, group priors in two colours."""
    figure, axes = plt.subplots(3, 3, figsize=(10, 7.6), sharex=True, sharey=True, layout="constrained")
    for axis, (name, words) in zip(axes.flat, TITLES.items(), strict=True):
        mine = found[found["parameter"] == name]
        for group_prior, colour in COLOURS.items():
            ranks = mine.loc[mine["group prior"] == group_prior, "rank"].to_numpy()
            if len(ranks):
                panel(axis, ranks, int(mine["of"].iloc[0]), coverage, colour)
        axis.set_title(words, fontsize=10, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_xlim(0, 1)
    axes[0, 0].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    sizes = found.groupby("group prior")["seed"].nunique()
    handles: list[Artist] = [
        Line2D([], [], color=COLOURS[name], label=f'group_prior="{name}" ({sizes[name]} replications)')
        for name in COLOURS
    ]
    handles.append(Patch(color="0.88", label=f"simultaneous {coverage:.0%} band"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=9, title=title)
    return figure, axes


def _distribution(axis: Axes, ranks: np.ndarray, n_ranks: int, coverage: float, colour: str) -> None:
    """Of one parameter; points outside of the band have dots."""
    n, z = len(ranks), np.arange(1, n_ranks) / n_ranks
    low, high = (edge / n - z for edge in band(n, n_ranks, coverage))
    axis.axhline(0, color="0.6", linewidth=0.8, zorder=1)
    axis.fill_between(z, low, high, color="0.88", linewidth=0, zorder=0)
    difference = counts_below(ranks, n_ranks) / n - z
    axis.plot(np.r_[0, z, 1], np.r_[0, difference, 0], color=colour, linewidth=1.2, zorder=2)
    out = outside(ranks, n_ranks, coverage)
    axis.plot(z[out], difference[out], "o", color=colour, markersize=4, zorder=3)


def _histogram(axis: Axes, ranks: np.ndarray, n_ranks: int, coverage: float, colour: str, *, n_bins: int) -> None:
    """Of one parameter; bars outside of the band have dots."""
    low, high = histogram_band(len(ranks), n_bins, coverage)
    counts, edges = histogram(ranks, n_ranks, n_bins), np.linspace(0, 1, n_bins + 1)
    axis.axhspan(low - 0.5, high + 0.5, color="0.88", linewidth=0, zorder=0)
    axis.axhline(len(ranks) / n_bins, color="0.6", linewidth=0.8, zorder=1)
    axis.stairs(counts, edges, baseline=None, color=colour, linewidth=1.2, zorder=2)
    out = (counts < low) | (counts > high)
    axis.plot((edges[:-1] + edges[1:])[out] / 2, counts[out], "o", color=colour, markersize=4, zorder=3)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=150)
    plt.close(figure)
