"""What cross-validation and searches cost compared with one fit of sleepstudy, and what an import costs.

    python benchmarks/scikit_learn.py

times in one process: a fit; 10-fold cross-validation by rows and by subjects, with one job and with two; a search over
six candidates, five folds each, with two jobs. The workers of two jobs are started before, as for any second call.
Then, in separate processes, the sum of ``python -X importtime`` for the package and for what its users import anyway,
pandas and `sklearn.linear_model`. Prints medians and ranges, and ratios: to the fit, and of the imports.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
from joblib import Parallel, delayed
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_score
from tables import save, show

import bayesmixed as bm

DATA = bm.datasets.load_sleepstudy()
X, Y = DATA[["Days", "Subject"]], DATA["Reaction"]
GRID = {"group_prior": ["lkj", "independent"], "lkj_eta": [1.0, 2.0, 4.0]}
IMPORTS = {"bayesmixed": "import bayesmixed", "pandas and sklearn.linear_model": "import pandas, sklearn.linear_model"}


def tasks() -> dict[str, Callable[[], Any]]:
    """What is timed in this process, by name."""
    est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0)
    rows = list(KFold(10, shuffle=True, random_state=0).split(X))
    subjects = list(GroupKFold(10).split(X, groups=DATA["Subject"]))

    def scores(folds: Any, jobs: int) -> Any:
        return cross_val_score(est, X, Y, cv=folds, n_jobs=jobs)

    return {
        "one fit": lambda: est.fit(X, Y),
        "10 folds of rows, 1 job": lambda: scores(rows, 1),
        "10 folds of rows, 2 jobs": lambda: scores(rows, 2),
        "10 folds of subjects, 1 job": lambda: scores(subjects, 1),
        "10 folds of subjects, 2 jobs": lambda: scores(subjects, 2),
        "6 candidates, 5 folds each, 2 jobs": lambda: GridSearchCV(est, GRID, cv=5, n_jobs=2).fit(X, Y),
    }


def import_seconds(code: str) -> float:
    """Sum of the modules' own seconds, as Python counts them."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    own = [line.removeprefix("import time:").split("|")[0].strip() for line in lines if line.startswith("import time:")]
    return sum(int(microseconds) for microseconds in own if microseconds.isdigit()) / 1e6


def main() -> None:
    """Time all in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    Parallel(n_jobs=2)(delayed(bm.MixedModelRegressor("Days").fit)(X, Y) for _ in range(2))
    timed = tasks()
    timed["one fit"]()
    rows = []
    for run in range(runs):
        for name, task in timed.items():
            started = time.perf_counter()
            task()
            rows.append({"what": name, "run": run, "seconds": time.perf_counter() - started})
        for name, code in IMPORTS.items():
            rows.append({"what": f"import of {name}", "run": run, "seconds": import_seconds(code)})
    found: pd.DataFrame = save(rows, "scikit_learn").groupby("what", sort=False)["seconds"]
    table = found.agg(["median", "min", "max"])
    table["ratio"] = table["median"] / table["median"]["one fit"]
    of_imports = table.index.str.startswith("import")
    table.loc[of_imports, "ratio"] = table["median"] / table["median"][f"import of {list(IMPORTS)[-1]}"]
    show(table.reset_index())


if __name__ == "__main__":
    main()
