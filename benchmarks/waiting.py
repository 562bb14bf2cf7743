"""What predictions cost compared with their fit, and the errors of their intervals, for two versions of the package.

    PYTHONPATH=one/version python benchmarks/waiting.py --name before
    PYTHONPATH=another python benchmarks/waiting.py --name after

Only the public interface is used. Seconds are CPU seconds with one thread; "share" is relative to those of the fit. The
first calls are made on an unpickled copy, which has computed nothing yet. The errors are those of 0.05 and 0.95
quantiles (largest over rows, root mean square over seeds, in predictive standard deviations) against fits of 40,000
draws with other seeds; ``--reference`` names the version whose reference is read, so that both share one.
"""

from __future__ import annotations

import argparse
import os
import pickle
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import numpy as np
import pandas as pd
from tables import OUTPUT, save, show

import bayesmixed as bm

PROBABILITIES = [0.05, 0.95]


def simulate(n_groups: int, n_each: int, seed: int, sd: float = 1.0) -> pd.DataFrame:
    """Rows of groups with intercepts and slopes."""
    rng = np.random.default_rng(seed)
    group, x = np.repeat(np.arange(n_groups), n_each), rng.normal(size=n_groups * n_each)
    b = rng.normal(size=(n_groups, 2)) * [sd, sd / 2]
    y = 2 + x + b[group, 0] + b[group, 1] * x + rng.normal(size=len(x))
    return pd.DataFrame({"x": x, "group": group, "y": y})


def seconds(call: Callable[[], Any]) -> float:
    """Of the processor."""
    started = time.process_time()
    call()
    return time.process_time() - started


def costs(n_users: int, n_rows: int) -> list[dict[str, Any]]:
    """Seconds of first calls after a fit whose effects are not stored, and of many rows of sleepstudy."""
    frame = simulate(n_users, 8, 0).sample(frac=1, random_state=0)
    est = bm.MixedModelRegressor("y ~ x + (x | group)", random_state=0)
    fit = seconds(lambda: est.fit(frame))
    packed, new = pickle.dumps(est), frame.head(1).assign(group=-1)
    first: dict[str, Callable[[Any], Any]] = {
        "first predict, a new user": lambda e: e.predict(new),
        "first predict, a known user": lambda e: e.predict(frame.head(1)),
        "first predict, a known user, std": lambda e: e.predict(frame.head(1), return_std=True),
        "a new user's donors, all draws": lambda e: e.predict_draws(new, kind="mean", new_groups="donor"),
        "predict, all users": lambda e: e.predict(frame),
        "predict of 5,000 rows, std": lambda e: e.predict(frame.head(5000), return_std=True),
    }
    rows = [{"task": f"fit, {n_users} users", "seconds": fit}]
    for task, call in first.items():
        copy = pickle.loads(packed)
        taken = seconds(lambda call=call, copy=copy: call(copy))  # type: ignore[misc]
        rows.append({"task": task, "seconds": taken, "share": taken / fit})
    data, rng = bm.datasets.load_sleepstudy(), np.random.default_rng(0)
    sleep = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0).fit(data)
    subjects = rng.choice(data["Subject"].unique(), n_rows)
    known = pd.DataFrame({"Days": rng.uniform(0, 9, n_rows), "Subject": subjects})
    unknown = known.assign(Subject=np.arange(n_rows) + 1000)
    for name, X in (("known", known), ("new", unknown)):
        tasks: dict[str, Callable[[Any], Any]] = {
            "predict, std": lambda X: sleep.predict(X, return_std=True),
            "predict_interval": sleep.predict_interval,
            "predict_interval of the mean": lambda X: sleep.predict_interval(X, kind="mean"),
        }
        for task, call in tasks.items():
            taken = seconds(lambda call=call, X=X: call(X))  # type: ignore[misc]
            rows.append({"task": f"{task}, {n_rows} rows of {name} subjects", "seconds": taken})
    return rows


def quantiles(n_draws: int, seeds: range) -> dict[tuple[str, str, str], tuple[np.ndarray, np.ndarray]]:
    """By case, rows and kind: quantiles by seed, (seeds, rows, 2), and predictive standard deviations, (rows,)."""
    sleep = bm.datasets.load_sleepstudy().set_axis(["y", "x", "group"], axis=1)
    cases = {
        "sleepstudy": sleep,
        "5 groups": simulate(5, 10, 1),
        "5 groups, small sds": simulate(5, 6, 3, 0.15),
        "4 groups of 4": simulate(4, 4, 5, 2.0),
        "30 groups of 2": simulate(30, 2, 4),
    }
    found: dict[tuple[str, str, str], tuple[np.ndarray, np.ndarray]] = {}
    for case, frame in cases.items():
        known = frame.iloc[:: max(1, len(frame) // 20)]
        sets = {"known": known, "new": known.head(6).assign(group=np.arange(6) + 1000)}
        fits = [bm.MixedModelRegressor("y ~ x + (x | group)", draws=n_draws, random_state=s).fit(frame) for s in seeds]
        for name, X in sets.items():
            sd = fits[0].predict(X, return_std=True)[1]
            for kind in ("response", "mean"):
                each = [est.predict_quantiles(X, PROBABILITIES, kind=kind) for est in fits]
                found[case, name, kind] = np.array(each), sd
    return found


def main() -> None:
    """Time, then measure errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, two seeds, and no claims")
    parser.add_argument("--name", default="now", help="of this version, in the files that are written")
    parser.add_argument("--reference", help="name of the version whose reference is read; default: make one")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    quick = arguments.quick
    show(save(costs(3000 if quick else 10_000, 2000 if quick else 100_000), f"waiting_{arguments.name}"))
    path = Path(OUTPUT) / f"waiting_reference_{arguments.reference or arguments.name}.pickle"
    if arguments.reference is None:
        path.write_bytes(pickle.dumps(quantiles(1000 if quick else 10_000, range(100, 102 if quick else 104))))
    reference = pickle.loads(path.read_bytes())
    errors = []
    for key, (values, _) in quantiles(1000, range(2 if quick else 8)).items():
        centre, sd = reference[key][0].mean(axis=0), reference[key][1][:, None]
        largest = np.abs((values - centre) / sd).max(axis=(1, 2))
        errors.append(
            {**dict(zip(("case", "groups", "kind"), key, strict=True)), "error": np.sqrt(np.mean(largest**2))}
        )
    show(save(errors, f"waiting_errors_{arguments.name}"))


if __name__ == "__main__":
    main()
