"""Seconds of this version and another one, in turn, next to lme4 and glmm: small fits, many common columns or groups.

    python benchmarks/speed.py --against CHECKOUT [--rscript Rscript] [--glmm-python PYTHON]

CHECKOUT is a folder with another version, such as `git worktree add` creates. For every case of `speed_cases.py`, the
CPU seconds of one warm fit are printed, the minimum of several; for the large ones, the first fit counts. Next to them
are those of lmer (R with lme4), and of the package glmm in a separate environment, if they are given: point estimates
by restricted maximum likelihood. Then the imports: CPU seconds of a fresh process above those of
``import pandas, sklearn.linear_model``. Then scikit-learn's ``cross_val_score`` with two workers, in wall and CPU
seconds, with the default number of BLAS threads and with one.
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
from pathlib import Path

from speed_cases import CASES, LARGE
from tables import save, show

HERE = Path(__file__).resolve().parents[1]
BARE = "import pandas, sklearn.linear_model\n"
FIT = f"""{BARE}
import bayesmixed as bm
df = bm.datasets.load_sleepstudy()
est = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0).fit(df)
"""
FRESH = {
    "import pandas, sklearn.linear_model": BARE,
    "+ import bayesmixed": BARE + "import bayesmixed",
    "+ fit": FIT,
    "+ fit, idata_": FIT + "est.idata_",
    "+ import xarray": BARE + "import xarray; xarray.DataTree.from_dict({'/a': xarray.Dataset()})",
    "+ import arviz": BARE + "import warnings; warnings.simplefilter('ignore'); import arviz",
}
CROSS_VALIDATION = """
import time, warnings
import bayesmixed as bm
from sklearn.model_selection import cross_val_score
warnings.simplefilter("ignore")
df = bm.datasets.load_sleepstudy()
est = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0)
cross_val_score(est, df, df["Reaction"], cv=2, n_jobs=2)  # starts the workers
started = time.perf_counter()
cross_val_score(est, df, df["Reaction"], cv=10, n_jobs=2)
print(time.perf_counter() - started)
"""
LMER = """
suppressMessages(library(lme4)); frame <- read.csv({path!r})
fit <- function() suppressMessages(suppressWarnings(lmer({formula}, frame)))
if ({fits} > 1) invisible(fit())
cat(min(replicate({fits}, sum(system.time(fit())[c("user.self", "sys.self")]))))
"""
GLMM = """
import sys, time, warnings, csv
import numpy as np, glmm
warnings.simplefilter("ignore")
with open({path!r}) as file:
    names, *rows = csv.reader(file)
data = {{}}
for name, column in zip(names, zip(*rows)):
    text = name in ("Subject", "g", "h", "pupil", "item")
    data[name] = np.array([f"l{{v}}" for v in column]) if text else np.array(column, dtype=float)
def seconds():
    started = time.process_time()
    glmm.fit(data, {formula!r})
    return time.process_time() - started
print(min(seconds() for _ in range({fits})))
"""


def run(command: list[str], environment: dict[str, str] | None = None) -> tuple[str, float, float]:
    """What a command printed, and its wall and CPU seconds with those of its children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def environment_of(checkout: Path, threads: int | None = 1) -> dict[str, str]:
    """Of a process that takes the package from a folder, compiled once as an installed one is."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    dropped = (*names, "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"PYTHONPATH": str(checkout)} | ({} if threads is None else dict.fromkeys(names, str(threads)))


def fit_seconds(checkout: Path, name: str) -> float:
    """Of one case by one version."""
    worker = str(Path(__file__).with_name("speed_worker.py"))
    command = [sys.executable, worker, str(checkout), "0" if name in LARGE else "5", name]
    return min(json.loads(run(command, environment_of(checkout))[0])[name])


def peer_seconds(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Of the peers that are named and take such a model."""
    formula, frame, options = CASES[name]()
    if "family" in options or "sample_weight" in options or "|" not in formula:
        return {}
    fits = 1 if name in LARGE else 10
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "frame.csv")
        frame.to_csv(path, index=False)
        fill = {"path": path, "formula": formula, "fits": fits}
        peers = {
            "lmer": (arguments.rscript, ["-e", LMER.format(**fill)]),
            "glmm": (arguments.glmm_python, ["-c", GLMM.format(**fill)]),
        }
        for peer, (program, code) in peers.items():
            if program:
                try:
                    found[peer] = float(run([program, *code], os.environ | {"OMP_NUM_THREADS": "1"})[0])
                except RuntimeError as error:  # as lmer, of more columns than rows
                    print(f"{peer} does not fit {name!r}: {str(error).strip().splitlines()[-1]}")
    return found


def fits(arguments: argparse.Namespace, versions: dict[str, Path]) -> None:
    """Table of the cases."""
    rows = []
    for name in arguments.case or CASES:
        row: dict[str, object] = {"case": name}
        for _ in range(arguments.runs):
            for version, checkout in versions.items():
                row[version] = min(row.get(version, float("inf")), fit_seconds(checkout, name))
        rows.append(row | peer_seconds(name, arguments))
        print(json.dumps(rows[-1]), flush=True)
    show(save(rows, "speed"))


def fresh_processes(runs: int, versions: dict[str, Path]) -> None:
    """Table of the imports."""
    least: dict[tuple[str, str], float] = {}
    for _ in range(runs + 1):
        for version, checkout in versions.items():
            for name, code in FRESH.items():
                _, _, cpu = run([sys.executable, "-c", code], environment_of(checkout))
                least[name, version] = min(cpu, least.get((name, version), float("inf")))
    bare = next(iter(FRESH))
    rows = [
        {"program": name} | {v: least[name, v] - (least[bare, v] if name != bare else 0.0) for v in versions}
        for name in FRESH
    ]
    show(save(rows, "speed_fresh"))


def workers(runs: int, versions: dict[str, Path]) -> None:
    """Table of the cross-validation."""
    rows = []
    for threads in (None, 1):
        for version, checkout in versions.items():
            code = [sys.executable, "-c", CROSS_VALIDATION]
            found = [run(code, environment_of(checkout, threads)) for _ in range(runs)]
            wall, cpu = min(float(out) for out, _, _ in found), min(cpu for _, _, cpu in found)
            rows.append({"threads": threads or "usual", "version": version, "wall, ten folds": wall, "CPU, all": cpu})
    show(save(rows, "speed_workers"))


def main() -> None:
    """Time all in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="a folder with another version")
    parser.add_argument("--rscript", help="Rscript of an R that has lme4")
    parser.add_argument("--glmm-python", help="interpreter that has the package glmm")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--case", nargs="*", choices=list(CASES), metavar="NAME", help="some of the cases alone")
    arguments = parser.parse_args()
    versions = ({"before": arguments.against.resolve()} if arguments.against else {}) | {"now": HERE}
    fits(arguments, versions)
    if not arguments.case:
        fresh_processes(arguments.runs, versions)
        workers(arguments.runs, versions)


if __name__ == "__main__":
    main()
