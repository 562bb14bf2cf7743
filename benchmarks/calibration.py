"""Simulation-based calibration of each sampler and group prior: one command, with tables and figures.

    python benchmarks/calibration.py                        # both samplers
    python benchmarks/calibration.py --sampler collapsed    # minutes; NUTS takes 40 on one busy processor
    python benchmarks/calibration.py --quick                # seconds: the collapsed sampler, few replications

In every replication all parameters of ``y ~ x + (x | g)``, 8 groups of 5 rows, are drawn from explicit priors (that
of the intercept stated at x = 0, as the default centre depends on the data), then data, which are fitted with the
same priors. Among draws thinned to near independence the rank of each true value is uniform (Talts et al., 2018,
Validating Bayesian inference algorithms with simulation-based calibration, arXiv:1804.06788). A fit is made again
with twice the draws where the effective sample size of a ranked quantity is less than the number of draws kept.

Prints, per parameter and group prior, how many points of the ranks' empirical distribution lie outside the
simultaneous 95 % band (5 % of calibrated parameters have any), how many bars of their histogram lie outside its own
band, the p-value of the first band, and that of a chi-square test of the bars. Warnings of the fits are counted: nearly
all NUTS chains this short have an R-hat above 1.01, and warn. Writes to ``benchmarks/output`` the table
``calibration_<sampler>.csv``, the ranks ``calibration_ranks_<sampler>.csv`` and the figures
``calibration_<sampler>.png`` (the empirical distributions, which show more) and
``calibration_histograms_<sampler>.png``, with ``_quick`` added for ``--quick``. The exit status is 1 if a parameter
leaves the 99.9 % band.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from typing import Any, NamedTuple

import pandas as pd
from calibration_bands import histogram, histogram_band, outside, p_value
from calibration_figure import draw, draw_histograms
from collapsed_sbc import ranks, test, two_effects
from joblib import Parallel, delayed
from tables import OUTPUT, save, show

GROUP_PRIORS = ("lkj", "independent")
BAND, GROSS = 0.95, 0.999
BINS = (20, 10, 5)  # of histograms and chi-square tests: the first that divide the ranks and leave 5 in each bin
EVERY = 50  # replications between reports of progress
APART = 100_000  # between the seeds of two group priors, for their data sets not to be alike


class Plan(NamedTuple):
    """How a sampler is calibrated: its settings, ranks, and replications in full and in short."""

    name: str
    settings: dict[str, Any]
    n_ranks: int
    replications: int
    quick: int


PLANS = {
    "collapsed": Plan("Collapsed sampler", {"sampler": "collapsed", "draws": 1000, "chains": 4}, 100, 500, 60),
    "nuts": Plan(
        "NUTS",
        {"sampler": "nuts", "nuts_backend": "pymc", "draws": 400, "tune": 300, "chains": 1, "cores": 1},
        n_ranks=50,
        replications=100,
        quick=3,
    ),
}


def replicate(plan: Plan, group_prior: str, seeds: range, jobs: int) -> list[dict[str, Any]]:
    """Ranks of all replications with one group prior; prints progress, and what the fits said."""
    case, started = two_effects()._replace(group_prior=group_prior), time.perf_counter()
    rows: list[dict[str, Any]] = []
    events: Counter[str] = Counter()
    parallel = Parallel(n_jobs=jobs, return_as="generator")
    found = parallel(delayed(ranks)(case, seed, plan.n_ranks, plan.settings) for seed in seeds)
    for done, (seed, (mine, said)) in enumerate(zip(seeds, found, strict=True), start=1):
        events += said
        rows += [
            {"group prior": group_prior, "seed": seed, "parameter": name, "rank": rank, "of": plan.n_ranks}
            for name, rank in (mine or {}).items()
        ]
        if done % EVERY == 0 or done == len(seeds):
            told = "".join(f", {n} {event}" for event, n in events.items())
            seconds = time.perf_counter() - started
            print(f"{plan.name}, {group_prior}: {done} replications, {seconds:.0f} s{told}", flush=True)
    return rows


def number_of_bins(plan: Plan, replications: int) -> int:
    """Of a histogram of ranks."""
    return next((b for b in BINS if plan.n_ranks % b == 0 and replications >= 5 * b), BINS[-1])


def judge(found: pd.DataFrame, plan: Plan) -> list[dict[str, Any]]:
    """Test the ranks of every parameter and group prior."""
    rows = []
    for (name, group_prior), mine in found.groupby(["parameter", "group prior"], sort=False)["rank"]:
        values = mine.to_numpy()
        bins = number_of_bins(plan, len(values))
        low, high = histogram_band(len(values), bins, BAND)
        bars = histogram(values, plan.n_ranks, bins)
        rows.append(
            {
                "parameter": name,
                "group prior": group_prior,
                "replications": len(values),
                "outside": outside(values, plan.n_ranks, BAND).sum(),
                "outside 99.9 %": outside(values, plan.n_ranks, GROSS).sum(),
                "bins": bins,
                "bars outside": ((bars < low) | (bars > high)).sum(),
                "p of band": p_value(values, plan.n_ranks),
                "p of chi-square": test(mine, plan.n_ranks, bins)["p"],
            }
        )
    return rows


def rank(sampler: str, seeds: range, jobs: int, suffix: str) -> None:
    """Ranks of a sampler with each group prior; the file is written after each."""
    rows = []
    for at, group_prior in enumerate(GROUP_PRIORS):
        own = range(seeds.start + at * APART, seeds.stop + at * APART)
        rows += replicate(PLANS[sampler], group_prior, own, jobs)
        save(rows, f"calibration_ranks_{sampler}{suffix}")


def report(sampler: str, suffix: str) -> pd.DataFrame:
    """Write, draw, print and return the table of a sampler, from the file of its ranks."""
    plan, found = PLANS[sampler], pd.read_csv(OUTPUT / f"calibration_ranks_{sampler}{suffix}.csv")
    table = save(judge(found, plan), f"calibration_{sampler}{suffix}")
    draw(found, BAND, plan.name, OUTPUT / f"calibration_{sampler}{suffix}.png")
    bins = table["bins"].min()
    draw_histograms(found, bins, BAND, plan.name, OUTPUT / f"calibration_histograms_{sampler}{suffix}.png")
    show(table)
    least = f"least p-value of a band {table['p of band'].min():.3g}"
    print(f"{(table['outside'] > 0).sum()} of {len(table)} leave the band of 95 %, {least}; ", end="")
    print(f"{(table['bars outside'] > 0).sum()} of {len(table)} histograms leave theirs\n")
    return table


def main() -> int:
    """Calibrate; 1 if something is grossly wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sampler", choices=list(PLANS), help="default: both; with --quick, collapsed")
    parser.add_argument("--replications", type=int, help="default: 500 collapsed, 100 NUTS; with --quick, 60 and 3")
    parser.add_argument("--first-seed", type=int, default=0, help="other seeds are other replications")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--report", action="store_true", help="only tables and figures again, from the last ranks")
    arguments = parser.parse_args()
    # fused, PyTensor writes each data set's scale into C code, and compiles every fit anew: twice the time
    os.environ.setdefault("PYTENSOR_FLAGS", "optimizer_excluding=fusion")
    first, gross = arguments.first_seed, 0
    for sampler in [arguments.sampler] if arguments.sampler else ["collapsed"] if arguments.quick else PLANS:
        suffix = "_quick" if arguments.quick else ""
        if not arguments.report:
            usual = PLANS[sampler].quick if arguments.quick else PLANS[sampler].replications
            rank(sampler, range(first, first + (arguments.replications or usual)), arguments.jobs, suffix)
        table = report(sampler, suffix)
        gross += (table["outside 99.9 %"] > 0).sum()
    return int(gross > 0)


if __name__ == "__main__":
    sys.exit(main())
