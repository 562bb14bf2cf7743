"""One figure of all simulation-based calibration: every sampler and family, a panel each.

    python benchmarks/calibration_overview.py

Reads the ranks that `calibration.py`, `swept_sbc.py`, `transport_sbc.py` and `gibbs_sbc.py` have left in
``benchmarks/results/`` and simulates nothing. A panel shows all quantities of its designs: the share of ranks below u,
minus u, divided by the half width of the simultaneous 95 % band there, so that 1 is the band's edge for any number of
replications; a quantity that leaves the band is drawn in colour. Prints, and writes to
``benchmarks/output/calibration_overview.csv``, for every panel: replications, quantities, how many leave their band,
and how many would do so by chance. The figure is ``benchmarks/output/calibration_overview.png``.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from calibration_bands import band, counts_below
from swept_sbc import N_RANKS, REFUSED
from tables import OUTPUT, save, show

RESULTS = Path(__file__).parent / "results"
COVERAGE = 0.95


def read() -> pd.DataFrame:
    """All ranks, by panel and quantity; `of` is their number of values."""
    tables = []
    for sampler in ("collapsed", "nuts"):
        one = pd.read_csv(RESULTS / f"calibration_ranks_{sampler}.csv")
        tables.append(one.assign(panel=f"{sampler}: Gaussian", design=one["group prior"]))
        two = pd.read_csv(RESULTS / f"swept_sbc_{sampler}.csv")
        tables.append(two.assign(panel=f"{sampler}: swept priors", design=two["case"], of=N_RANKS[sampler]))
    gibbs = pd.read_csv(RESULTS / "gibbs_sbc.csv")
    tables.append(gibbs.assign(panel="gibbs: " + gibbs["case"], design=gibbs["case"], of=100))
    transport = pd.read_csv(RESULTS / "transport_sbc.csv")
    family = transport["case"].str.removeprefix("crossed ").str.removesuffix(" q=2")
    tables.append(transport.assign(panel="transport: " + family, design=transport["case"], of=100))
    every = pd.concat(tables, ignore_index=True)
    return every[~every["parameter"].str.startswith(REFUSED)]


def distances(ranks: np.ndarray, of: int) -> np.ndarray:
    """Share of ranks below 1, ..., of - 1 less the expected one, over the band's half width on that side."""
    n, u = len(ranks), np.arange(1, of) / of
    low, high = (edge / n - u for edge in band(n, of, COVERAGE))
    difference = counts_below(ranks, of) / n - u
    # the edges belong to the band, and near 0 and 1 one of them is no distance away
    step = 0.5 / n
    return np.where(difference > 0, difference / (high + step), -difference / (low - step))


def main() -> None:
    """Table and figure."""
    OUTPUT.mkdir(exist_ok=True)
    found = read()
    panels = list(dict.fromkeys(found["panel"]))
    columns = 5
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(13, 2.3 * rows), sharex=True, sharey=True, layout="constrained")
    lines = []
    for axis, panel in zip(axes.flat, panels, strict=False):
        mine = found[found["panel"] == panel]
        out = 0
        for _, own in mine.groupby(["design", "parameter"], sort=False):
            of = int(own["of"].iloc[0])
            distance = distances(own["rank"].to_numpy(), of)
            leaves = bool(np.abs(distance).max() > 1)
            out += leaves
            style = (
                {"color": "#D55E00", "linewidth": 1.3, "zorder": 2} if leaves else {"color": "0.45", "linewidth": 0.7}
            )
            axis.plot(np.arange(1, of) / of, distance, **style)
        axis.axhspan(-1, 1, color="0.9", linewidth=0, zorder=0)
        quantities = mine.groupby(["design", "parameter"]).ngroups
        replications = mine.groupby("design")["seed"].nunique()
        axis.set_title(f"{panel}\n{out} of {quantities} outside", fontsize=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        lines.append(
            {
                "panel": panel,
                "designs": len(replications),
                "replications of each": " to ".join(map(str, sorted({replications.min(), replications.max()}))),
                "quantities": quantities,
                "outside": out,
                "expected": (1 - COVERAGE) * quantities,
            }
        )
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    axes.flat[0].set(xlim=(0, 1), xticks=(0, 0.5, 1), ylim=(-1.6, 1.6), yticks=(-1, 0, 1))
    figure.supxlabel("$u$: rank of the true value among posterior draws, from 0 to 1", fontsize=10)
    figure.supylabel(f"share of ranks below $u$, less $u$; the {COVERAGE:.0%} band is from -1 to 1", fontsize=10)
    figure.savefig(OUTPUT / "calibration_overview.png", dpi=150)
    table = save(lines, "calibration_overview")
    show(table)
    print(f"{table['outside'].sum()} of {table['quantities'].sum()} outside, {table['expected'].sum():.1f} expected")


if __name__ == "__main__":
    main()
