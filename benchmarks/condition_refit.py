"""Learning about a group by `condition`, against fitting old and new rows together: the same posterior, in less time.

    BAYESMIXED_DATA=<folder of InstEval.csv> python benchmarks/condition_refit.py

- sleepstudy, a new subject: 335 is left out; its first 1, 3 or 5 days are learned, the remaining days predicted;
- sleepstudy, a known subject: days 5 to 9 of 308 are left out; days 5 to 7 are learned, days 8 and 9 predicted;
- InstEval, a new student: the ratings of a student with at least 20 are left out; ten are learned, the rest predicted.
  Only if the environment variable names the folder: `problems.insteval` says how the file is made.

Prints, for no conditioning, `condition`, and a refit with the first fit's priors: the mean absolute error of the
predictions, mean width of 90 % intervals, and seconds (median of repeated runs); how `condition` was done, and mean
and sd of the group's own effects from it and from the refit. Then how far the posterior means of all parameters whose
draws are stored differ, relative to their Monte Carlo error: the greatest |z| of fits with several seeds, and mean z^2,
which is about 1 if both have the same posterior. Two refits with different seeds show what to expect.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from problems import SLEEP, insteval
from tables import save, show

import bayesmixed as bm
from bayesmixed._compat import dataset
from bayesmixed.posterior.diagnostics import convergence


class Case(NamedTuple):
    """What is known, learned and predicted; the learned rows are of one level of a factor."""

    name: str
    formula: str
    known: pd.DataFrame
    learned: pd.DataFrame
    predicted: pd.DataFrame
    group: tuple[str, Any]


def new_subject() -> list[Case]:
    """Subject 335 of sleepstudy, whose times do not grow."""
    data = bm.datasets.load_sleepstudy()
    known, new = data[data["Subject"] != 335], data[data["Subject"] == 335]
    return [Case(f"335, {n} days", SLEEP, known, new.head(n), new.iloc[n:], ("Subject", 335)) for n in (1, 3, 5)]


def known_subject() -> list[Case]:
    """Subject 308 of sleepstudy, further days."""
    data = bm.datasets.load_sleepstudy()
    mine, days = data["Subject"] == 308, data["Days"]
    parts = data[~(mine & (days >= 5))], data[mine & days.between(5, 7)], data[mine & (days >= 8)]
    return [Case("308, 3 more days", SLEEP, *parts, ("Subject", 308))]


def new_student(seed: int = 0) -> list[Case]:
    """A student of InstEval, picked at random."""
    problem = insteval()
    counts = problem.frame["s"].value_counts()
    student = counts.index[counts >= 20].to_series().sample(1, random_state=seed).item()
    mine = problem.frame[problem.frame["s"] == student].sample(frac=1, random_state=seed)
    known = problem.frame[problem.frame["s"] != student]
    return [Case(f"student {student}", problem.formula, known, mine.head(10), mine.iloc[10:], ("s", student))]


def fit(
    case: Case, rows: pd.DataFrame, draws: int, seed: int, priors: bm.Priors | None = None
) -> bm.MixedModelRegressor:
    """Fit a case's model by the collapsed sampler."""
    model = bm.MixedModelRegressor(case.formula, priors=priors, sampler="collapsed", draws=draws, random_state=seed)
    return model.fit(rows)


def timed(step: Callable[[], bm.MixedModelRegressor], repeats: int) -> tuple[bm.MixedModelRegressor, float]:
    """What a step returns, and its seconds: the median."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        est = step()
        seconds.append(time.perf_counter() - started)
    return est, float(np.median(seconds))


def predictions(est: bm.MixedModelRegressor, case: Case) -> dict[str, float]:
    """Error and width of intervals."""
    y = case.predicted[est.design_spec_.response]
    low, high = est.predict_interval(case.predicted, coverage=0.9).T
    error = float(np.abs(est.predict(case.predicted) - y).mean())
    return {"rows": len(y), "mean |error|": error, "width 90 %": float((high - low).mean())}


def variance_of_mean(draws: np.ndarray) -> np.ndarray:
    """Squared Monte Carlo error of means of draws (chain, draw, ...)."""
    return draws.var(axis=(0, 1)) / convergence(draws).ess_bulk


def z_scores(ours: bm.MixedModelRegressor, theirs: bm.MixedModelRegressor) -> np.ndarray:
    """Differences of posterior means over their Monte Carlo errors, levels matched by label."""
    other, scores = dataset(theirs.idata_, "posterior"), []
    for name, draws in dataset(ours.idata_, "posterior").data_vars.items():
        a, b = draws.values, other[name].sel({dim: draws[dim].values for dim in draws.dims[2:]}).values
        z = (a.mean(axis=(0, 1)) - b.mean(axis=(0, 1))) / np.sqrt(variance_of_mean(a) + variance_of_mean(b))
        scores.append(z.ravel())
    return np.concatenate(scores)


def agreement(case: Case, pair: str, scores: list[np.ndarray]) -> dict[str, Any]:
    """A row of the table: z scores of several seeds."""
    worst = [np.abs(z).max() for z in scores]
    numbers = {"median of max |z|": np.median(worst), "max |z|": max(worst), "mean z^2": np.square(scores).mean()}
    return {"case": case.name, "of": pair, "seeds": len(scores), "parameters": len(scores[0]), **numbers}


def over_seeds(case: Case, priors: bm.Priors, draws: int, seeds: int) -> list[dict[str, Any]]:
    """Compare `condition` with a refit, and two refits, all of different seeds."""
    every = pd.concat([case.known, case.learned])
    pairs: dict[str, list[np.ndarray]] = {"condition, refit": [], "refit, refit": []}
    for seed in range(10, 10 + 3 * seeds, 3):
        updated = fit(case, case.known, draws, seed, priors).condition(case.learned)
        refit, again = (fit(case, every, draws, seed + i, priors) for i in (1, 2))
        pairs["condition, refit"].append(z_scores(updated, refit))
        pairs["refit, refit"].append(z_scores(refit, again))
    return [agreement(case, pair, scores) for pair, scores in pairs.items()]


def group_effects(est: bm.MixedModelRegressor, case: Case, method: str) -> list[dict[str, Any]]:
    """Mean and sd of the effects of the group that the learned rows are of."""
    factor, label = case.group
    draws = est.draw_group_effects(factor, [label])[:, :, 0]
    effects = draws[f"{factor}_effect"].values
    error = np.sqrt(variance_of_mean(draws.values))
    numbers = zip(effects, draws.values.mean(axis=(0, 1)), error, draws.values.std(axis=(0, 1)), strict=True)
    return [
        {"case": case.name, "effect": effect, "method": method, "mean": mean, "its error": mcse, "sd": sd}
        for effect, mean, mcse, sd in numbers
    ]


def compare(case: Case, est: bm.MixedModelRegressor, draws: int, repeats: int, seeds: int) -> dict[str, list]:
    """Rows of all tables; without `seeds` the case is large, and fitted again once."""
    every = pd.concat([case.known, case.learned])
    updated, seconds = timed(lambda: est.condition(case.learned), repeats)
    refit, seconds_refit = timed(lambda: fit(case, every, draws, 1, est.priors_), repeats if seeds else 1)
    methods = {"nothing": (est, np.nan), "condition": (updated, seconds), "refit": (refit, seconds_refit)}
    found = updated.diagnostics_
    alike = over_seeds(case, est.priors_, draws, seeds) if seeds else []
    return {
        "predictions": [
            {"case": case.name, "method": name, **predictions(model, case), "seconds": seconds}
            for name, (model, seconds) in methods.items()
        ],
        "ways": [{"case": case.name, **{key: found[key] for key in ("reason", "k_hat", "max_r_hat", "min_ess_bulk")}}],
        "effects": group_effects(updated, case, "condition") + group_effects(refit, case, "refit"),
        "agreement": alike or [agreement(case, "condition, refit", [z_scores(updated, refit)])],
    }


def main() -> None:
    """Compare all cases, the large one where its data are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000, help="per chain, of four")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs; of the large refit one")
    parser.add_argument("--seeds", type=int, default=20, help="compared fits of a case; of the large one one")
    arguments = parser.parse_args()
    groups = [(new_subject, arguments.seeds), (known_subject, arguments.seeds)]
    if "BAYESMIXED_DATA" in os.environ:
        groups.append((new_student, 0))
    tables: dict[str, list] = {}
    for cases_of, seeds in groups:
        cases = cases_of()
        # the cases of a group have the same known rows
        est, seconds = timed(lambda case=cases[0]: fit(case, case.known, arguments.draws, 0), 1)
        print(f"{cases[0].name}: {len(cases[0].known)} known rows fitted in {seconds:.2f} s", flush=True)
        for case in cases:
            for name, rows in compare(case, est, arguments.draws, arguments.repeats, seeds).items():
                tables.setdefault(name, []).extend(rows)
    for name, rows in tables.items():
        print(f"\n{name}")
        show(save(rows, f"condition_{name}"))


if __name__ == "__main__":
    main()
