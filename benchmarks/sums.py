"""A fit to sums over rows against the fit to the rows: draws, seconds, memory.

    python benchmarks/sums.py

- twelve designs split by a factor, so that levels are not in all parts, and added in another order; and what is left of
  a sum, ``(a + b) - a``, against a fit to b: the largest difference of any draw, in standard deviations of its
  posterior; next to it the same for the rows themselves in another order, the effect of rounding alone on draws;
- eleven sites, with a file each, against the pooled rows;
- 1,000 updates of one row each by `partial_fit`: seconds, and bytes of the pickle after 10 and after 1,000;
- 50,000 of a million levels, in 1,000 chunks of 50 levels, and all of a million levels in 1,000 chunks: seconds and
  peak memory of a separate process;
- a fit of sleepstudy, and of 1e6 rows x 1e4 groups with a slope: seconds of the fit, and of its rows until it samples.

`--quick` uses fewer parts and rows.
"""

from __future__ import annotations

import argparse
import pickle
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import clone

import bayesmixed as bm
from bayesmixed.estimators import base

FORMULAS = {
    "intercepts": "y ~ x + (1 | pupil)",
    "slopes": "y ~ x + k + (x | pupil)",
    "a slope far from zero": "y ~ year + (year | pupil)",
    "independent": "y ~ x + (x || pupil) + (0 + z | school)",
    "nested": "y ~ x + (1 | town/school/pupil)",
    "crossed": "y ~ k*x + (x | pupil) + (1 | item)",
    "crossed, by the gibbs sampler": "y ~ x + (1 | a) + (1 | b)",
    "a category by group": "y ~ z + (k | pupil)",
    "a spline": "y ~ 0 + bs(z, knots=[1, 2], lower_bound=0, upper_bound=3, center=False) + (1 | pupil)",
    "weights": "y ~ x + (x | pupil)",
    "log-normal": "wait ~ x + (1 | pupil)",
    "no groups": "y ~ x*k + scale(z)",
}


def make_frame(n: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Levels of every kind, columns far from zero, positive responses, weights."""
    rng = np.random.default_rng(seed)
    pupil, a, b = rng.integers(0, 60, n), rng.integers(0, 120, n), rng.integers(0, 90, n)
    x, item, effect = rng.normal(1, 2, n), rng.integers(0, 9, n), rng.normal(0, 1, (60, 2))
    y = 1 + 0.3 * x + effect[pupil, 0] + 0.4 * effect[pupil, 1] * x + 0.3 * item + rng.normal(0, 0.7, n)
    y += rng.normal(0, 0.5, 120)[a] + rng.normal(0, 0.5, 90)[b]
    columns = {"x": x, "z": rng.uniform(0, 3, n), "year": 2010.0 + rng.integers(0, 8, n), "item": item}
    columns |= {"k": rng.choice(list("abc"), n), "pupil": pupil, "school": pupil % 7, "town": pupil % 3, "a": a, "b": b}
    return pd.DataFrame(columns | {"y": y, "wait": np.exp(0.2 * y), "w": rng.integers(1, 4, n).astype(float)})


def options(case: str) -> dict:
    """Family and weights of a case, as `SufficientStatistics.of` takes them."""
    family = "lognormal" if case == "log-normal" else "gaussian"
    return {"family": family, "sample_weight": "w" if case == "weights" else None}


def largest_difference(one: bm.MixedModelRegressor, other: bm.MixedModelRegressor) -> float:
    """Of all draws, in standard deviations of the posterior."""
    a, b = one._posterior.draws.values, other._posterior.draws.values
    return max(float(np.max(np.abs(v - b[name]) / v.std(axis=(0, 1)), initial=0.0)) for name, v in a.items())


def designs(n: int) -> None:
    """The largest difference of each design."""
    frame = make_frame(n)
    print("\nlargest difference of a draw, in standard deviations of its posterior")
    for case, formula in FORMULAS.items():
        of, est = options(case), bm.MixedModelRegressor(formula, family=options(case)["family"], random_state=0)
        rows = est.fit(frame, sample_weight=frame["w"] if case == "weights" else None)
        whole = bm.SufficientStatistics.of(formula, frame, **of)
        parts = [bm.SufficientStatistics.of(formula, own, like=whole, **of) for _, own in frame.groupby("school")]
        fitted = bm.MixedModelRegressor(family=of["family"], random_state=0).fit(reduce(add, parts[::-1]))
        rest = reduce(add, parts[1:])
        left = bm.MixedModelRegressor(family=of["family"], random_state=0).fit((parts[0] + rest) - parts[0])
        direct = bm.MixedModelRegressor(family=of["family"], random_state=0).fit(rest)
        turned, sampler = frame.sample(frac=1, random_state=0), rows.diagnostics_["sampler"]
        other = clone(est).fit(turned, sample_weight=turned["w"] if case == "weights" else None)
        print(
            f"  {case:30} {sampler:10} seven parts {largest_difference(rows, fitted):.1e}"
            f"   (a + b) - a {largest_difference(direct, left):.1e}"
            f"   rows in another order {largest_difference(rows, other):.1e}"
        )


def sites(n: int) -> None:
    """Eleven files against the pooled rows."""
    frame = make_frame(n).assign(site=lambda own: own["pupil"] % 11)
    formula = "y ~ x + k + (x | site) + (1 | pupil)"
    with tempfile.TemporaryDirectory() as folder:
        for site, own in frame.groupby("site"):
            statistics = bm.SufficientStatistics.of(formula, own, categories={"k": list("abc")})
            statistics.save(Path(folder) / f"{site}.bms", minimum=2)
        files = sorted(Path(folder).glob("*.bms"))
        sizes = [file.stat().st_size for file in files]
        total = reduce(add, map(bm.load, files))
    pooled = bm.MixedModelRegressor(formula, random_state=0).fit(frame)
    difference = largest_difference(pooled, bm.MixedModelRegressor(random_state=0).fit(total))
    print(f"\n{len(files)} sites by file ({min(sizes):,} to {max(sizes):,} bytes): {difference:.1e}")


def updates(times: int) -> None:
    """Updates of one row each."""
    frame = bm.datasets.load_sleepstudy()
    est, sizes = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0), []
    started = time.perf_counter()
    for at in range(times):
        est.partial_fit(frame.iloc[[at * 7 % 180]])
        if at + 1 in (180, times):
            sizes.append(len(pickle.dumps(est)))
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    est.predict(frame)
    drawn = time.perf_counter() - started
    print(f"\n{times:,} updates: {seconds:.2f} s, then {drawn:.2f} s to draw; pickle {sizes} bytes after 180 and all")


def some_levels(chunks: int, levels: int, every: bool) -> Iterator[pd.DataFrame]:
    """Chunks of 50 levels of many, 20 rows each; or chunks that have all levels between them."""
    rng = np.random.default_rng(0)
    for at in range(chunks):
        own = np.arange(at, levels, chunks) if every else rng.choice(levels, 50, replace=False)
        g = np.repeat(own, 4 if every else 20)
        x = rng.normal(size=len(g))
        yield pd.DataFrame({"y": 0.1 * g % 7 + x + rng.normal(size=len(g)), "x": x, "g": g})


def peak() -> float:
    """The most memory that this process has held, in MB; where the system does not say, that of its parents, too."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def many_levels(chunks: int, levels: int, every: bool) -> None:
    """Sums of many levels; run in a process of its own."""
    before = peak()
    started = time.perf_counter()
    total = bm.SufficientStatistics.of("y ~ x + (x | g)", lambda: some_levels(chunks, levels, every))
    seconds = time.perf_counter() - started
    memory = peak()
    products = total.sums.products
    size = sum(array.nbytes for array in (*products.S, *products.T, *products.counts)) / 2**20
    print(
        f"{products.n_levels[0]:,} levels of {levels:,} in {chunks:,} chunks, {total.n_rows:,} rows: {seconds:.1f} s, "
        f"peak {memory:.0f} MB (before: {before:.0f}); the sums have {size:.0f} MB"
    )


def seconds_of(fit: base.MixedModel, frame: pd.DataFrame, repeats: int) -> tuple[float, float]:
    """The fastest fit, and the fastest until it samples."""
    whole, rows = [], []
    sample = base.sample

    def noted(*arguments: object) -> object:
        rows.append(time.perf_counter() - started)
        return sample(*arguments)

    base.sample = noted
    for _ in range(repeats):
        started = time.perf_counter()
        fit.fit(frame)
        whole.append(time.perf_counter() - started)
    base.sample = sample
    return min(whole), min(rows)


def fits(n: int) -> None:
    """Seconds of two fits, of rows in memory and of their sums."""
    sleep = bm.datasets.load_sleepstudy()
    rng = np.random.default_rng(0)
    J = max(n // 100, 10)
    g, x, b = rng.integers(0, J, n), rng.normal(size=n), rng.normal(size=(J, 2))
    large = pd.DataFrame({"y": 1 + x + b[g, 0] + 0.5 * b[g, 1] * x + rng.normal(size=n), "x": x, "g": g})
    text = large.assign(g="group " + large["g"].astype(str), k=rng.choice(list("abcd"), n))
    print("\nseconds of a fit, and of its rows until it samples")
    for name, formula, frame in (
        ("sleepstudy", "Reaction ~ Days + (Days | Subject)", sleep),
        (f"{n:,} x {J:,}", "y ~ x + (x | g)", large),
        ("the same, text", "y ~ x + k + (x | g)", text),
    ):
        whole, rows = seconds_of(bm.MixedModelRegressor(formula, random_state=0), frame, 3)
        started = time.perf_counter()
        statistics = bm.SufficientStatistics.of(formula, frame)
        summed = time.perf_counter() - started
        of_sums, _ = seconds_of(bm.MixedModelRegressor(random_state=0), statistics, 3)
        print(f"  {name:20} fit {whole:.3f}, rows {rows:.3f}; statistics {summed:.3f}, fit of them {of_sums:.3f}")


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--levels", nargs=3, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.levels:
        many_levels(*arguments.levels[:2], every=bool(arguments.levels[2]))
        return
    warnings.simplefilter("ignore", bm.ConvergenceWarning)
    quick = arguments.quick
    designs(600 if quick else 2000)
    sites(600 if quick else 5000)
    updates(200 if quick else 1000)
    print()
    sizes = ((100, 10_000, 0),) if quick else ((1000, 1_000_000, 0), (1000, 1_000_000, 1))
    for size in sizes:
        subprocess.run([sys.executable, __file__, "--levels", *map(str, size)], check=True)
    fits(10_000 if quick else 1_000_000)


if __name__ == "__main__":
    main()
