"""The transport sampler measured: seconds, effective sample sizes, gradients, and memory, 4 x 1000 draws.

    python benchmarks/transport.py            # three seeds
    python benchmarks/transport.py --large    # 100,000 rows in 10,000 groups

fits every problem of `transport_cases.py` with every seed in a separate process with one thread. CPU and wall seconds
are those of `fit`, including all trajectories that thinning discards, without imports. R-hat and effective sample sizes
are the worst over **all** parameters, group effects included. Problems that the sampler rejects are not passed to
another: the row says why. Memory is the peak of the process, preceded by that after all imports.

Rows are added to ``benchmarks/output/transport.json`` as they come, and a second call continues after the last one
unless ``--again`` is given. The printed table has all rows for this Python; the exit status is 1 if a fit was rejected,
failed or was late. ``--quick`` is for continuous integration: two problems, one seed, into ``transport_quick.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from problems import Problem
from tables import OUTPUT
from transport_cases import ALL, LARGE, MEASURED, QUICK, gamma

from bayesmixed.errors import SamplerError

PYTHON = ".".join(platform.python_version_tuple()[:2])
Row = dict[str, Any]
TOLD = ("max_r_hat", "min_ess_bulk", "min_ess_tail", "divergences", "acceptance", "step_size", "thinning", "sampler")
TOLD += ("gradients_per_draw", "adaptation_gradients", "max_r_hat_of", "min_ess_bulk_of", "min_ess_tail_of")


def megabytes() -> float:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def fit(problem: Problem, seed: int, draws: int = 1000) -> Row:
    """One fit: what it cost, and what it says of itself."""
    model = problem.estimator(sampler="transport", draws=draws, random_state=seed)
    before, cpu, clock = megabytes(), time.process_time(), time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(problem.frame)
            outcome = {"outcome": "ok", **{key: model.diagnostics_.get(key) for key in TOLD}}
        except SamplerError as error:
            outcome = {"outcome": "refused", "reason": str(error)}
        except Exception as error:  # the row says what went wrong, the next problem is tried
            outcome = {"outcome": "failed", "reason": f"{type(error).__name__}: {error}"}
    spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - clock}
    memory = {"mb_before": before, "mb": megabytes()}
    return outcome | spent | memory | {"warnings": sorted({str(warning.message) for warning in caught})}


def run_here(name: str, seed: int, seconds: float) -> None:
    """Fit one problem in this process, which is ended at a limit of its seconds; prints a line of JSON."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
    fit(gamma(), 0, draws=250)  # what is imported at the first fit is not measured
    print(json.dumps(fit(ALL[name](), seed)))


def run_apart(name: str, seed: int, seconds: float) -> Row:
    """The same in a process of its own, with one thread."""
    command = [sys.executable, str(Path(__file__)), "--one", name, str(seed), "--limit", str(seconds)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ | threads, check=False)
    if done.returncode == -signal.SIGXCPU:
        return {"outcome": "late", "reason": f"not done in {seconds:.0f} s", "cpu": seconds}
    if done.returncode:
        return {"outcome": "failed", "reason": f"the process ended with {done.returncode}", "cpu": None}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def collect(path: Path, names: Iterable[str], seeds: range, again: bool, seconds: float) -> list[Row]:
    """Add what is missing to a file of results; returns all of this Python's rows."""
    OUTPUT.mkdir(exist_ok=True)
    rows: list[Row] = json.loads(path.read_text()) if path.exists() else []
    names = list(names)
    if again:
        rows = [row for row in rows if not (row["python"] == PYTHON and row["case"] in names and row["seed"] in seeds)]
    done = {(row["case"], row["seed"]) for row in rows if row["python"] == PYTHON}
    for seed in seeds:
        for name in names:
            if (name, seed) in done:
                continue
            row = {"case": name, "seed": seed, "python": PYTHON, **run_apart(name, seed, seconds)}
            rows.append(row)
            path.write_text(json.dumps(rows, indent=1))
            print(line(row), flush=True)
    return [row for row in rows if row["python"] == PYTHON]


def line(row: Row) -> str:
    """One row, as it comes."""
    if row["outcome"] != "ok":
        return f"{row['case']}, seed {row['seed']}: {row['outcome']}, {row['reason']}"
    sizes = f"{row['min_ess_bulk']:.0f}/{row['min_ess_tail']:.0f}"
    return f"{row['case']}, seed {row['seed']}: {row['cpu']:.2f} s, {sizes}, R-hat {row['max_r_hat']:.4f}"


def table(rows: list[Row], names: Iterable[str]) -> str:
    """Markdown, a line per problem, the worst or the median over seeds."""
    head = ["case", "seeds", "CPU s, median (max)", "wall s", "bulk/tail min", "R-hat max", "gradients/draw"]
    head += ["thinning", "step", "acceptance", "divergences", "MB (before)", "not ok"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in names:
        found = pd.DataFrame([row for row in rows if row["case"] == name])
        if len(found):
            lines.append("| " + " | ".join(cells(name, found)) + " |")
    return "\n".join(lines)


def cells(name: str, found: pd.DataFrame) -> list[str]:
    """A line of the table."""
    bad = found[found["outcome"] != "ok"]
    reasons = "; ".join(f"seed {seed}: {why}" for seed, why in zip(bad["seed"], bad.get("reason", []), strict=True))
    good = found[found["outcome"] == "ok"]
    if good.empty:
        return [name, "0 of " + str(len(found)), f"{found['cpu'].median():.2f}", *[""] * 9, reasons]
    thinning = ", ".join(f"{value:.0f}" for value in good["thinning"])
    return [
        name,
        f"{len(good)} of {len(found)}",
        f"{good['cpu'].median():.2f} ({good['cpu'].max():.2f})",
        f"{good['wall'].median():.2f}",
        f"{good['min_ess_bulk'].min():.0f}/{good['min_ess_tail'].min():.0f}",
        f"{good['max_r_hat'].max():.4f}",
        f"{good['gradients_per_draw'].median():.2f}",
        thinning if set(good["thinning"]) != {1} else "1",
        f"{good['step_size'].min():.2f}",
        f"{good['acceptance'].min():.2f}",
        f"{good['divergences'].sum():.0f}",
        f"{good['mb'].max():.0f} ({good['mb_before'].max():.0f})",
        reasons,
    ]


def main() -> None:
    """Measure all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(MEASURED | LARGE), help="these problems")
    parser.add_argument("--large", action="store_true", help="the large problems in place of the others")
    parser.add_argument("--again", action="store_true", help="measure again what was measured")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds of the processor for one fit")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("CASE", "SEED"), help="fit this one here, and print JSON")
    arguments = parser.parse_args()
    if arguments.one:
        run_here(arguments.one[0], int(arguments.one[1]), arguments.limit)
        return
    names = list(LARGE if arguments.large else MEASURED)
    names, seeds = (QUICK, range(1)) if arguments.quick else (arguments.only or names, range(arguments.seeds))
    path = OUTPUT / ("transport_quick.json" if arguments.quick else "transport.json")
    rows = collect(path, names, seeds, arguments.again or arguments.quick, arguments.limit)
    print(f"\nPython {PYTHON}\n\n{table(rows, names)}")
    sys.exit(any(row["outcome"] != "ok" for row in rows if row["case"] in names))


if __name__ == "__main__":
    main()
