"""How the seconds of a fit grow with rows, and with groups.

    python benchmarks/collapsed_growth.py

prints, for ten times the rows at 1,000 groups and ten times the groups at 1,000,000 rows, with group intercepts only
and with slopes: median seconds of the sampler's steps (one pass over the rows, sampling of the covariances, effects),
of everything else (reading the formula and the data, convergence), and of the whole fit.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd
from problems import Problem, large_intercepts, large_slopes
from tables import save, show

import bayesmixed as bm

SIZES = [(rows, 1_000) for rows in (10_000, 100_000, 1_000_000)]
SIZES += [(1_000_000, groups) for groups in (100, 1_000, 10_000, 100_000)]
MODELS: dict[str, Callable[[int, int], Problem]] = {"intercepts": large_intercepts, "slopes": large_slopes}


def time_fit(problem: Problem, seed: int) -> dict[str, Any]:
    """Seconds of one fit, step by step."""
    model = bm.MixedModelRegressor(problem.formula, sampler="collapsed", random_state=seed)
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.ConvergenceWarning)
        model.fit(problem.frame)
    whole = time.perf_counter() - started
    steps = model.diagnostics_["seconds"]
    return {
        **steps,
        "else": whole - sum(steps.values()),
        "fit": whole,
        "evaluations": model.diagnostics_["evaluations"],
    }


def main() -> None:
    """Time all sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    time_fit(large_slopes(1_000, 10), 0)  # what is imported at the first fit is not timed
    lines = []
    for name, simulate in MODELS.items():
        for rows, groups in SIZES:
            problem = simulate(rows, groups)
            fits = pd.DataFrame([time_fit(problem, seed) for seed in range(arguments.seeds)])
            lines.append({"model": name, "rows": rows, "groups": groups, **fits.median()})
            print(f"{name}, {rows} rows, {groups} groups: {lines[-1]['fit']:.2f} s", flush=True)
    show(save(lines, "growth"))


if __name__ == "__main__":
    main()
