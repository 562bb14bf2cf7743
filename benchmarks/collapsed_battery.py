"""How fast, how exact and how large a fit of every problem is, with the sampler that ``sampler="auto"`` chooses.

    python benchmarks/collapsed_battery.py --seeds 6
    BAYESMIXED_DATA=folder python benchmarks/collapsed_battery.py --large --sampler collapsed

prints one line per problem over all seeds: median and longest seconds of `fit`, median seconds of `fit` and `idata_`
together (imports are not timed), Pareto k-hat, acceptance, proposals per kept draw, passes, evaluations, worst R-hat
and effective sample sizes over all stored parameters, fits that fell back to NUTS (with ``--sampler collapsed``: that
were rejected), fits with a convergence warning, and the peak memory of a separate process next to that just before the
first fit.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
from problems import LARGE, SMALL, Problem
from tables import save

import bayesmixed as bm
from bayesmixed.errors import SamplerError


def memory() -> float:
    """Peak memory of this process so far in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def fit(problem: Problem, seed: int, **options: Any) -> dict[str, Any]:
    """One fit, its posterior, and what it says of itself."""
    model = bm.MixedModelRegressor(problem.formula, random_state=seed, **problem.options, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started = time.perf_counter()
        try:
            model.fit(problem.frame)
        except SamplerError as error:
            return {"seed": seed, "seconds": time.perf_counter() - started, "sampler": "refused", "reason": str(error)}
        fitted = time.perf_counter()
        _ = model.idata_
        assembled = time.perf_counter()
    warned = any(issubclass(warning.category, bm.ConvergenceWarning) for warning in caught)
    row = {"seed": seed, "seconds": fitted - started, "seconds_idata": assembled - started, "warned": warned}
    return row | {key: value for key, value in model.diagnostics_.items() if key not in ("seconds", "undefined")}


def run_here(name: str, seeds: int, sampler: str) -> None:
    """Fit one problem in this process; prints one line of JSON per seed."""
    # what is imported at the first fit and the first posterior is not timed
    fit(Problem("Yield ~ (1 | Batch)", bm.datasets.load_dyestuff(), {}), 0, draws=50)
    problem = (SMALL | LARGE)[name]()
    before = memory()
    for seed in range(seeds):
        row = {"problem": name, **fit(problem, seed, sampler=sampler), "mb_before": before, "mb_peak": memory()}
        print(json.dumps(row), flush=True)


def run_apart(name: str, seeds: int, sampler: str) -> list[dict[str, Any]]:
    """Fit one problem in a process of its own."""
    command = [sys.executable, str(Path(__file__)), "--problem", name, "--seeds", str(seeds), "--sampler", sampler]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


COLUMNS = ["seconds", "seconds_idata", "k_hat", "acceptance", "proposals_per_draw", "passes", "evaluations"]
COLUMNS += ["min_ess_bulk", "min_ess_tail", "max_r_hat", "sampler", "warned", "mb_before", "mb_peak"]
WHOLE = ("passes", "evaluations", "bulk", "tail", "fallbacks", "warned", "MB before", "MB peak")
FORMATS = {"k-hat": ".2f", "acceptance": ".2f", "R-hat": ".4f"} | dict.fromkeys(WHOLE, ".0f")


def line(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum a problem up."""
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    collapsed = table[table["sampler"] == "collapsed"]
    return {
        "seconds": table["seconds"].median(),
        "max": table["seconds"].max(),
        "+idata_": table["seconds_idata"].median(),
        "k-hat": collapsed["k_hat"].max(),
        "acceptance": collapsed["acceptance"].min(),
        "per draw": collapsed["proposals_per_draw"].max(),
        "passes": collapsed["passes"].max(),
        "evaluations": collapsed["evaluations"].max(),
        "bulk": table["min_ess_bulk"].min(),
        "tail": table["min_ess_tail"].min(),
        "R-hat": table["max_r_hat"].max(),
        "fallbacks": len(table) - len(collapsed),
        "warned": int(table["warned"].eq(True).sum()),
        "MB before": table["mb_before"].max(),
        "MB peak": table["mb_peak"].max(),
    }


def main() -> None:
    """Run the battery, print it line by line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--large", action="store_true", help="the large problems in place of the small ones")
    parser.add_argument("--sampler", default="auto", choices=["auto", "collapsed"])
    parser.add_argument("--problem", help="fit this one here, and print JSON")
    arguments = parser.parse_args()
    if arguments.problem:
        run_here(arguments.problem, arguments.seeds, arguments.sampler)
        return
    every = []
    for at, name in enumerate(LARGE if arguments.large else SMALL):
        rows = run_apart(name, arguments.seeds, arguments.sampler)
        every += rows
        summary = line(rows)
        if not at:
            print(f"{'problem':30}" + "".join(f"{key:>12}" for key in summary))
        cells = (format(value, FORMATS.get(key, ".3g")) for key, value in summary.items())
        print(f"{name:30}" + "".join(f"{cell:>12}" for cell in cells), flush=True)
        for reason in {row["reason"] for row in rows if row["sampler"] != "collapsed"}:
            print(f"    {reason}", flush=True)
        save(every, f"battery_{'large' if arguments.large else 'small'}")


if __name__ == "__main__":
    main()
