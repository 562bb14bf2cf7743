"""Large crossed designs: seconds, memory and effective draws of the Gibbs sampler, and the dense sampler's posterior.

    BAYESMIXED_DATA=folder python benchmarks/crossed.py                 # the folder has InstEval.csv; three seeds
    BAYESMIXED_DATA=folder python benchmarks/crossed.py --agreement     # posteriors beside those of sampler="collapsed"
    python benchmarks/crossed.py --quick                                # one case, of a tenth of its rows and levels

Every fit is 4 chains of 1,000 draws with ``sampler="auto"``, in a separate process; CPU seconds are those of `fit`
(OMP_NUM_THREADS=1 keeps it to one processor), with those of the diagnostics printed separately. ESS are the smallest
over group sds, correlations and sigma, and over all stored effects; "rate" is the share of the effects' deviations that
survives a sweep.

With ``--agreement``, a line for every variable of a model that both samplers fit: root mean square and maximum over its
parameters of z, the difference of two means divided by its Monte Carlo error, and of the ratio of sds.

Written to ``benchmarks/output/crossed.csv`` and ``crossed_agreement.csv``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tables import save, show

import bayesmixed as bm
from bayesmixed.posterior.diagnostics import convergence
from bayesmixed.sampling.report import summarise

QUICK = "943 x 1682", 10  # the case of --quick, and what its rows and levels are divided by


def inst_eval(rows: int | None = None) -> tuple[str, pd.DataFrame]:
    """Students, lecturers and departments (lme4's InstEval)."""
    data = pd.read_csv(Path(os.environ["BAYESMIXED_DATA"]) / "InstEval.csv", nrows=rows)
    return "y ~ service + (1 | s) + (1 | d) + (1 | dept)", data


def simulated(
    n: int, levels: dict[str, int], *, slopes: bool = False, even: bool = True, smaller: int = 1
) -> tuple[str, pd.DataFrame]:
    """Rows of crossed factors, whose levels are as frequent as each other or follow a gamma distribution."""
    rng = np.random.default_rng(0)
    n = n // smaller
    frame = pd.DataFrame({"x": rng.normal(size=n)})
    y = 1 + 0.5 * frame["x"] + rng.normal(size=n)
    for factor, many in levels.items():
        J = many // smaller
        share = np.ones(J) if even else rng.gamma(0.8, size=J) + 1e-6
        codes = rng.choice(J, n, p=share / share.sum())
        frame[factor] = codes
        y += rng.normal(0, 0.6, J)[codes]
        if slopes:
            y += rng.normal(0, 0.3, J)[codes] * frame["x"]
    effects = "x" if slopes else "1"
    return f"y ~ x + {' + '.join(f'({effects} | {factor})' for factor in levels)}", frame.assign(y=y)


def movers(smaller: int = 1) -> tuple[str, pd.DataFrame]:
    """5,000 workers of 5 years each in 500 firms; one in ten changes firms."""
    rng = np.random.default_rng(0)
    workers, firms, years = 5000 // smaller, 500 // smaller, 5
    home, second = rng.integers(0, firms, (2, workers))
    worker = np.repeat(np.arange(workers), years)
    late = np.tile(np.arange(years) >= years // 2, workers)
    firm = np.where((rng.uniform(size=workers) < 0.1)[worker] & late, second[worker], home[worker])
    x = rng.normal(size=len(worker))
    y = 1 + 0.5 * x + rng.normal(0, 0.6, workers)[worker] + rng.normal(0, 0.5, firms)[firm]
    frame = pd.DataFrame({"worker": worker, "firm": firm, "x": x, "y": y + 0.5 * rng.normal(size=len(x))})
    return "y ~ x + (1 | worker) + (1 | firm)", frame


def nested(classes: int, schools: int, items: int, n: int, smaller: int = 1) -> tuple[str, pd.DataFrame]:
    """Pupils of classes, which are of one school each, who answer items."""
    rng = np.random.default_rng(0)
    classes, schools, items, n = (size // smaller for size in (classes, schools, items, n))
    school_of = np.concatenate([np.arange(schools), rng.integers(0, schools, classes - schools)])
    at, item = rng.integers(0, classes, n), rng.integers(0, items, n)
    x = rng.normal(size=n)
    y = 1 + 0.5 * x + rng.normal(0, 0.6, classes)[at] + rng.normal(0, 0.4, schools)[school_of[at]]
    y += rng.normal(0, 0.5, items)[item] + rng.normal(size=n)
    frame = pd.DataFrame({"room": at, "school": school_of[at], "item": item, "x": x, "y": y})
    return "y ~ x + (1 | room) + (1 | school) + (1 | item)", frame


def penicillin() -> tuple[str, pd.DataFrame]:
    """24 plates x 6 samples, once each (lme4's Penicillin)."""
    return "diameter ~ (1 | plate) + (1 | sample)", bm.datasets.load_penicillin()


CASES: dict[str, Callable[..., tuple[str, pd.DataFrame]]] = {
    "InstEval": inst_eval,
    "slopes 200 x 100": lambda smaller=1: simulated(20_000, {"a": 200, "b": 100}, slopes=True, smaller=smaller),
    "slopes 2000 x 1000": lambda smaller=1: simulated(100_000, {"a": 2000, "b": 1000}, slopes=True, smaller=smaller),
    "943 x 1682": lambda smaller=1: simulated(100_000, {"a": 943, "b": 1682}, even=False, smaller=smaller),
    "6040 x 3706": lambda smaller=1: simulated(1_000_000, {"a": 6040, "b": 3706}, even=False, smaller=smaller),
    "1e4 x 1e4": lambda smaller=1: simulated(1_000_000, {"a": 10_000, "b": 10_000}, even=False, smaller=smaller),
    "three large": lambda smaller=1: simulated(50_000, {"a": 2000, "b": 1500, "c": 800}, even=False, smaller=smaller),
    "4525 x 4509": lambda smaller=1: simulated(12_000, {"a": 4525, "b": 4509}, smaller=smaller),
    "movers": movers,
    "nested in crossed": lambda smaller=1: nested(6000, 300, 3000, 60_000, smaller),
}
BOTH: dict[str, Callable[[], tuple[str, pd.DataFrame]]] = {
    "InstEval, 10,000 rows": lambda: inst_eval(10_000),
    "slopes 200 x 100": CASES["slopes 200 x 100"],
    "three factors": lambda: simulated(6_000, {"a": 200, "b": 150, "c": 80}, even=False),
    "Penicillin": penicillin,
    "movers, a tenth": lambda: movers(10),
    "nested in crossed, a tenth": lambda: nested(600, 30, 300, 6000),
    "InstEval": inst_eval,
}


def fit(formula: str, data: pd.DataFrame, seed: int, sampler: str) -> Any:
    """4 chains of 1,000 draws."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bm.MixedModelRegressor(formula, sampler=sampler, random_state=seed).fit(data)


def smallest(values: dict[str, np.ndarray], effects: bool) -> tuple[float, float]:
    """Bulk and tail ESS of group effects, or of all covariances and sigma."""
    found = [
        convergence(draws)
        for name, draws in values.items()
        if name.startswith("b_") == effects and name not in ("Intercept", "beta")
    ]
    return min(float(one.ess_bulk.min()) for one in found), min(float(one.ess_tail.min()) for one in found)


def one(name: str, seed: int, smaller: int) -> dict[str, Any]:
    """Fit one case in this process."""
    formula, data = CASES[name]() if name == "InstEval" else CASES[name](smaller)
    started, wall = time.process_time(), time.perf_counter()
    est = fit(formula, data, seed, "auto")
    seconds, wall = time.process_time() - started, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found, draws = est.diagnostics_, est._posterior.draws
    started = time.process_time()
    summarise(draws)
    diagnosed = time.process_time() - started
    (sd_bulk, sd_tail), (b_bulk, b_tail) = smallest(draws.values, False), smallest(draws.values, True)
    return {
        "case": name,
        "seed": seed,
        "sampler": found["sampler"],
        "CPU s": seconds,
        "of these diagnostics": diagnosed,
        "wall s": wall,
        "sds bulk": sd_bulk,
        "sds tail": sd_tail,
        "effects bulk": b_bulk,
        "effects tail": b_tail,
        "R-hat": found["max_r_hat"],
        "moved": found.get("moved"),
        "rate": found.get("rate"),
        "iterations": found.get("iterations"),
        "thinning": found.get("thinning"),
        "peak MB": peak,
    }


def in_a_process(name: str, seed: int, smaller: int) -> dict[str, Any]:
    """The same in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        command = [sys.executable, __file__, "--one", name, str(seed), str(smaller), str(path)]
        subprocess.run(command, check=True)
        return json.loads(path.read_text())


def agreement(name: str) -> list[dict[str, Any]]:
    """Both samplers' posteriors of one model."""
    formula, data = BOTH[name]()
    gibbs, dense = (fit(formula, data, seed, sampler) for seed, sampler in enumerate(("gibbs", "collapsed")))
    rows = []
    for variable, draws in gibbs._posterior.draws.values.items():
        other = dense._posterior.draws.values[variable]
        error = [values.var(axis=(0, 1)) / convergence(values).ess_bulk for values in (draws, other)]
        z = (draws.mean(axis=(0, 1)) - other.mean(axis=(0, 1))) / np.sqrt(sum(error))
        ratio = draws.std(axis=(0, 1)) / other.std(axis=(0, 1))
        rows.append(
            {
                "case": name,
                "variable": variable,
                "parameters": z.size,
                "rms z": float(np.sqrt(np.mean(np.square(z)))),
                "max |z|": float(np.abs(z).max()),
                "least ratio of sds": float(ratio.min()),
                "largest": float(ratio.max()),
            }
        )
    return rows


def main() -> None:
    """Fit all cases, or compare the samplers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", help="default: all; InstEval needs BAYESMIXED_DATA")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--agreement", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, seed, smaller, path = arguments.one
        Path(path).write_text(json.dumps(one(name, int(seed), int(smaller))))
        return
    names = arguments.cases or list(BOTH if arguments.agreement else CASES)
    if "BAYESMIXED_DATA" not in os.environ:
        names = [name for name in names if not name.startswith("InstEval")]
    rows: list[dict[str, Any]] = []
    for name in QUICK[:1] if arguments.quick else names:
        if arguments.agreement:
            rows += agreement(name)
        else:
            seeds, smaller = (1, QUICK[1]) if arguments.quick else (arguments.seeds, 1)
            rows += [in_a_process(name, seed, smaller) for seed in range(seeds)]
        table = save(rows, f"crossed{'_agreement' * arguments.agreement}{'_quick' * arguments.quick}")
        show(table[table["case"] == name])


if __name__ == "__main__":
    main()
