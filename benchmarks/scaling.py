r"""How the seconds of a fit grow: with rows, groups, effects per group, crossed levels, groups of 0 and 1.

    python benchmarks/scaling.py --python statsmodels=path/to/python --python gpboost=path/to/python

runs our default sampler and its peers with the adapters of `peers.py` (interpreters are given as there), every fit in
a separate process, in five series:

- rows: 1,000 to 1,000,000 rows of 200 groups, an intercept and a slope in each;
- groups: 10 to 30,000 groups of 100,000 rows in all, likewise;
- effects: 1 to 6 effects, an intercept and slopes, in each of 200 groups, 10,000 rows;
- levels: 30 to 10,000 levels of each of two crossed factors, 100,000 rows (collapsed, then Gibbs);
- classes: responses of 0 and 1 in 30 to 10,000 groups of 10 rows, an intercept and a slope in each (transport).

A library that exceeds the time limit, counted from the start of the process, gets no larger sizes in that panel.
Libraries that compile their model get only the smallest sizes (``--compiled``). The seconds are processor seconds, of
all threads and children, which other work of the machine changes less than wall time; those of the second fit in a
process, so that imports at first use do not hide the growth, but of the first fit if a smaller size took more than a
few seconds, and for libraries that compile. GPBoost has no correlated effects and fits the smaller model.

Written to ``benchmarks/output/``: ``scaling.csv`` (a line per run, with both fits) and ``scaling.png``. Printed: the
seconds, and the exponents: slopes of log seconds on log size over the upper half of the sizes that a library finished.
``--quick`` is for continuous integration: only ours at tiny sizes, into ``scaling_quick.csv`` and ``.png``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from crossed import simulated
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator
from peer_problems import PeerProblem
from peer_report import CONTAINER, OURS, describe_machine
from peers import PEERS, Benchmark, Peer, chosen, find_interpreters
from problems import Problem
from tables import OUTPUT, save, show
from transport_cases import slopes

QUICK_FIT = 5.0  # seconds of a fit that is made twice in a process if the next larger one is asked for
OVER = "over the limit"
COMPILED = ("bayesmixed, nutpie", "PyMC", "Bambi, nutpie")


@dataclass(frozen=True)
class Panel:
    """What grows, what that is called, and the problem of a size."""

    name: str
    label: str
    make: Callable[[int], Problem]
    sizes: tuple[int, ...]

    def problems(self) -> list[PeerProblem]:
        """From the smallest; who is over the limit on one is not given the next."""
        names = [f"{self.name} {size}" for size in self.sizes]
        return [
            PeerProblem(name, partial(self.make, size), smaller=tuple(names[:k]))
            for k, (name, size) in enumerate(zip(names, self.sizes, strict=True))
        ]


def nested(rows: int, groups: int, effects: int) -> Problem:
    """Groups of random sizes; effects of standard deviations 1, 0.5, 0.5, ... that do not correlate; residual sd 2."""
    rng = np.random.default_rng(0)
    g = rng.integers(0, groups, rows)
    Z = np.column_stack([np.ones(rows), rng.normal(size=(rows, effects - 1))])
    b = 0.5 + rng.normal(size=(groups, effects)) * np.where(np.arange(effects) == 0, 1.0, 0.5)
    names = [f"x{k}" for k in range(1, effects)]
    frame = pd.DataFrame(Z[:, 1:], columns=names).assign(g=g)
    frame["y"] = (Z * b[g]).sum(axis=1) + 2 * rng.normal(size=rows)
    terms = " + ".join(names) or "1"
    return Problem(f"y ~ {terms} + ({terms} | g)", frame, {})


def crossed(rows: int, levels: int) -> Problem:
    """Two factors of as many levels."""
    return Problem(*simulated(rows, {"a": levels, "b": levels}), {})


def classes(groups: int) -> Problem:
    """Ten responses of 0 or 1 in each group."""
    return slopes([10] * groups, 25)._replace(options={"family": "bernoulli"})


PANELS = [
    Panel(
        "rows",
        "Rows (200 groups, 2 effects)",
        lambda n: nested(n, 200, 2),
        (1_000, 10_000, 100_000, 300_000, 1_000_000),
    ),
    Panel(
        "groups",
        "Groups (100,000 rows, 2 effects)",
        lambda J: nested(100_000, J, 2),
        (10, 100, 1_000, 10_000, 30_000),
    ),
    Panel(
        "effects",
        "Effects per group (200 groups, 10,000 rows)",
        lambda q: nested(10_000, 200, q),
        (1, 2, 3, 4, 5, 6),
    ),
    Panel(
        "levels",
        "Levels of two crossed factors (100,000 rows)",
        lambda J: crossed(100_000, J),
        (30, 100, 300, 1_000, 3_000, 10_000),
    ),
    Panel("classes", "Groups of ten 0s and 1s (2 effects)", classes, (30, 100, 300, 1_000, 3_000, 10_000)),
]
TINY = [
    Panel("rows", "Rows (20 groups, 2 effects)", lambda n: nested(n, 20, 2), (200, 800)),
    Panel("groups", "Groups (1,000 rows, 2 effects)", lambda J: nested(1_000, J, 2), (10, 40)),
    Panel("effects", "Effects per group (20 groups, 1,000 rows)", lambda q: nested(1_000, 20, q), (1, 2)),
    Panel("levels", "Levels of two crossed factors (600 rows)", lambda J: crossed(600, J), (10, 20)),
    Panel("classes", "Groups of ten 0s and 1s (2 effects)", classes, (10, 20)),
]


class Growth(Benchmark):
    """Runs of a library on problems that grow: a second fit only where it is quick and nothing is compiled."""

    def stages(self, problem: PeerProblem, peer: Peer) -> dict[str, Any]:
        """Whether to fit again."""
        smaller = [row["fit"] for name in problem.smaller for row in self.rows_of(name, peer) if "fit" in row]
        return {"refit": peer.name not in COMPILED and all(fit < QUICK_FIT for fit in smaller)}


def measure(options: argparse.Namespace, panels: list[Panel]) -> pd.DataFrame:
    """All runs; the file is written after each size."""
    benchmark = Growth(options, find_interpreters(options.python))
    peers = chosen(options.libraries, [peer for peer in PEERS if peer.name in STYLE])
    empty = pd.DataFrame(columns=["panel", "library"])
    table = pd.read_csv(OUTPUT / f"{options.name}.csv") if options.append else empty
    again = table["panel"].isin([panel.name for panel in panels]) & table["library"].isin([peer.name for peer in peers])
    kept: list[Any] = table[~again].to_dict("records")
    for panel in panels:
        for k, problem in enumerate(panel.problems()):
            benchmark.run(problem, [peer for peer in peers if k < options.compiled or peer.name not in COMPILED])
            table = save(kept + [tidy(row, benchmark.versions) for row in benchmark.rows], options.name)
    return table


def tidy(row: dict[str, Any], versions: dict[str, dict[str, str]]) -> dict[str, Any]:
    """A line of the file, from one of the runner."""
    panel, size = row["problem"].split()
    kept = "run", "status", "note", "fit", "refit", "cpu_fit", "cpu_fit_container", "cpu_refit", "cpu_refit_container"
    kept += "wall", "limit", "peak_container_mb", "max_r_hat", "ess_bulk", "ess_tail"
    measured = {key: row.get(key, np.nan) for key in kept}
    found = ", ".join(f"{name} {number}" for name, number in versions.get(row["library"], {}).items())
    return {"panel": panel, "size": int(size), "library": row["library"], **measured, "versions": found}


def seconds(runs: pd.DataFrame) -> pd.DataFrame:
    """Median processor seconds by panel, library and size; ours a second time with the posterior's container."""
    runs = runs.assign(seconds=runs["cpu_refit"].fillna(runs["cpu_fit"]))
    container = runs["cpu_refit_container"].fillna(runs["cpu_fit_container"])
    ours = runs.assign(seconds=container, library=CONTAINER)[runs["library"] == OURS]
    both = pd.concat([runs, ours]).dropna(subset="seconds")
    panels, libraries = [panel.name for panel in PANELS], list(STYLE)
    both = both.assign(panel=pd.Categorical(both["panel"], panels), library=pd.Categorical(both["library"], libraries))
    return both.groupby(["panel", "library", "size"], observed=True)["seconds"].median().reset_index()


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Slope of log seconds on log size over the upper half of the sizes, by panel and library."""
    lines = []
    for (panel, library), mine in table.groupby(["panel", "library"], observed=True):
        upper = mine.sort_values("size").iloc[len(mine) // 2 if len(mine) > 2 else 0 :]
        if len(upper) > 1:
            slope = np.polyfit(np.log(upper["size"]), np.log(upper["seconds"]), 1)[0]
            sizes = f"{upper['size'].min():,} to {upper['size'].max():,}"
            lines.append({"panel": panel, "library": library, "exponent": round(slope, 2), "over": sizes})
    return pd.DataFrame(lines)


# Okabe & Ito's colours; samplers filled, libraries that only estimate hollow
STYLE: dict[str, dict[str, Any]] = {
    OURS: {"color": "#D55E00", "marker": "o"},
    CONTAINER: {"color": "#D55E00", "marker": "D", "linestyle": "--"},
    "bayesmixed, nutpie": {"color": "#E69F00", "marker": "^"},
    "PyMC": {"color": "#0072B2", "marker": "s"},
    "Bambi, nutpie": {"color": "#56B4E9", "marker": "^"},
    "glmm": {"color": "#0072B2", "marker": "o", "markerfacecolor": "white"},
    "glmmTMB": {"color": "#56B4E9", "marker": "v", "markerfacecolor": "white"},
    "lme4": {"color": "0.25", "marker": "v", "markerfacecolor": "white"},
    "GPBoost": {"color": "#009E73", "marker": "D", "markerfacecolor": "white"},
    "statsmodels": {"color": "#CC79A7", "marker": "s", "markerfacecolor": "white"},
}


def draw(runs: pd.DataFrame, panels: list[Panel], path: Path) -> None:
    """A panel for each thing that grows, both axes logarithmic."""
    table = seconds(runs)
    shown = [name for name in STYLE if name in {*table["library"], *runs.loc[runs["status"] == OVER, "library"]}]
    figure, axes = plt.subplots(2, 3, figsize=(13, 8.5), sharey=True, layout="constrained")
    for axis, panel in zip(axes.flat, panels, strict=False):
        axis.set(xscale="log", yscale="log", xlabel=panel.label)
        mine = table[table["panel"] == panel.name]
        for library in shown:
            line = mine[mine["library"] == library].sort_values("size")
            axis.plot(line["size"], line["seconds"], markersize=5.5, **STYLE[library])
        _over(axis, runs[(runs["panel"] == panel.name) & (runs["status"] == OVER)])
        _samplers(axis, runs[(runs["panel"] == panel.name) & (runs["library"] == OURS)])
        _guide(axis, panel, mine["seconds"].min())
        axis.xaxis.set_minor_locator(NullLocator())
        if panel.sizes[-1] < 10 * panel.sizes[0]:
            axis.set_xticks(panel.sizes)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.yaxis.set_major_locator(LogLocator(numticks=12))
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(color="0.9", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("Processor seconds of a fit")
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    handles = [Line2D([], [], label=name.replace("`", ""), markersize=5.5, **STYLE[name]) for name in shown]
    axes[-1, -1].legend(handles=handles, loc="center left", frameon=False)
    figure.savefig(path, dpi=150)


def _samplers(axis: plt.Axes, ours: pd.DataFrame) -> None:
    """The sampler that "auto" took, at the first size of each."""
    ours = ours.sort_values("size").dropna(subset="note")
    for sampler, first in ours.groupby("note", sort=False)["size"].first().items():
        y = seconds(ours[ours["size"] == first])["seconds"].min()
        axis.annotate(str(sampler), (first, y), (0, -14), textcoords="offset points", color=STYLE[OURS]["color"])


def _over(axis: plt.Axes, runs: pd.DataFrame) -> None:
    """An arrow where a library was stopped."""
    for size, library, limit in runs[["size", "library", "limit"]].drop_duplicates().itertuples(index=False):
        arrow = {"arrowstyle": "->", "color": STYLE[library]["color"], "shrinkA": 3, "shrinkB": 0}
        axis.annotate("", (size, limit * 1.9), (size, limit), arrowprops=arrow)
        axis.plot(size, limit, **STYLE[library] | {"linestyle": ""}, markersize=5.5)
        axis.annotate(f"> {limit:g} s", (size, limit), (-7, 0), textcoords="offset points", ha="right", va="center")
        axis.plot(size, limit * 2.2, alpha=0)  # room for the arrow


def _guide(axis: plt.Axes, panel: Panel, lowest: float) -> None:
    """Seconds in proportion to size, over the upper part of the axis and below all lines."""
    ends = np.array([max(panel.sizes[-1] / 20, panel.sizes[0]), panel.sizes[-1]])
    y = lowest / 2 * ends / ends[0]
    axis.plot(ends, y, color="0.6", linewidth=1, linestyle=":", zorder=1)
    axis.annotate("slope 1", (ends[0], y[0]), (4, -2), textcoords="offset points", va="top", color="0.45", fontsize=8)


def parse() -> argparse.Namespace:
    """Options, and those that the runner wants beside."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add: Callable[..., Any] = parser.add_argument
    add("--quick", action="store_true", help="tiny sizes, for continuous integration")
    add("--report", action="store_true", help="only tables and figure again, from the file of the last run")
    add("--python", action="append", default=[], metavar="NAME=PATH", help="interpreter of a library, or R=Rscript")
    add("--runs", type=int, default=1, help="of each library at each size, at most")
    add("--limit", type=float, default=60, help="seconds from the start of a process to the end of its fit")
    add("--compiled", type=int, default=2, help="how many sizes, from the smallest, for what compiles its model")
    add("--panels", nargs="+", help="of rows, groups, effects, levels, classes; default: all")
    add("--libraries", nargs="+", help="by name; default: all")
    add("--append", action="store_true", help="keep what the file has of other panels and libraries")
    options = parser.parse_args()
    options.patience, options.fold_seconds, options.all, options.memory = 3 * options.limit, 0.0, False, 16.0
    options.name = "scaling_quick" if options.quick else "scaling"
    options.libraries = options.libraries or ([OURS] if options.quick else None)
    return options


def main() -> None:
    """Run, print, draw."""
    options = parse()
    panels = TINY if options.quick else PANELS
    chosen_panels = chosen(options.panels, panels)
    runs = pd.read_csv(OUTPUT / f"{options.name}.csv") if options.report else measure(options, chosen_panels)
    print(describe_machine({})["machine"])
    show(seconds(runs).pivot(index=["panel", "size"], columns="library", values="seconds").reset_index())
    show(exponents(seconds(runs)))
    draw(runs, panels, OUTPUT / f"{options.name}.png")


if __name__ == "__main__":
    main()
