"""Predicted probabilities of classes come true, in known groups and in new ones; those of the average group do not.

    python benchmarks/class_calibration.py --replications 200    # ten minutes; it may be stopped
    python benchmarks/class_calibration.py --quick               # seconds

In every replication, parameters are drawn from stated priors, then rows of 30 groups, which are fitted with the same
priors. For fresh rows, four from every known group and one from each of 120 new ones, probabilities are predicted and
classes are drawn from the true parameters: among rows with a predicted probability of p, a share of p should show the
class. Rows are sorted into ten bins by their probability. Rows of one replication depend on each other, so the standard
error of (observed - predicted) is taken over replications.

Appends to ``benchmarks/output/class_calibration.csv`` one line for each family, replication, way of prediction and
bin; a second call continues after the last one. Prints predicted and observed shares, z scores, and the sum of their
squares over the bins with its chi-square p-value. A fit that the sampler rejects counts as a failure; the exit status
is 1 if there is one, or if a p-value of what should come true is below 1e-4 (with --quick only the former).
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit
from tables import OUTPUT, show

import bayesmixed as bm

GROUPS, ROWS, NEW = 30, 6, 120
CLASSES = {"bernoulli": 2, "cumulative": 4}
INTERCEPT, GAP, SLOPE, SD = bm.Normal(0, 1), bm.LogNormal(0.3, 0.5), bm.Normal(0, 1), bm.HalfNormal(2)
QUICK, GROSS = 2, 1e-4
EDGES = np.linspace(0, 1, 11)
# what is predicted: part of the rows, and the effects of new groups
WAYS = {"known": ("known", "sample"), "new": ("new", "sample"), "new, average group": ("new", "zero")}


def simulate(family: str, rng: np.random.Generator) -> pd.DataFrame:
    """Rows to fit, fresh rows of the same groups, and of new ones; `part` tells them apart."""
    g = np.concatenate([np.arange(GROUPS).repeat(ROWS), np.arange(GROUPS).repeat(4), GROUPS + np.arange(NEW)])
    part = np.repeat(["fit", "known", "new"], [GROUPS * ROWS, GROUPS * 4, NEW])
    frame = pd.DataFrame({"g": g, "x": rng.normal(size=len(g)), "part": part})
    middle, slope, sd, lower, upper = (prior.quantile(rng.random()) for prior in (INTERCEPT, SLOPE, SD, GAP, GAP))
    thresholds = middle + (np.zeros(1) if family == "bernoulli" else np.array([-lower, 0.0, upper]))
    eta = slope * frame["x"] + rng.normal(0, sd, GROUPS + NEW)[g]
    below = expit(thresholds - eta.to_numpy()[:, None])
    return frame.assign(y=(rng.random((len(g), 1)) > below).sum(axis=1))


def replicate(family: str, seed: int, draws: int) -> list[dict[str, Any]]:
    """Simulate, fit and predict: rows, sum of their probabilities and number of successes, by bin; or why not."""
    frame = simulate(family, np.random.default_rng([seed, len(family)]))
    parts = dict(list(frame.groupby("part")))
    K = CLASSES[family]
    if parts["fit"]["y"].nunique() < 2:  # one class alone: there is nothing to fit, whatever the predictions
        return [{"way": "one class alone"}]
    model = bm.MixedModelClassifier(
        "x + (1 | g)", family=family, priors=priors(family), classes=range(K), draws=draws, random_state=seed
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the common effects", UserWarning)
            warnings.simplefilter("ignore", bm.ConvergenceWarning)
            est = model.fit(parts["fit"], parts["fit"]["y"])
    except bm.SamplerError as error:
        return [{"way": f"refused: {error}"}]
    found = []
    for way, (part, mode) in WAYS.items():
        rows = parts[part]
        p = est.predict_proba(rows, new_groups=mode)
        shown = rows["y"].to_numpy()[:, None] == np.arange(K)
        p, shown = (p[:, 1], shown[:, 1]) if K == 2 else (p.ravel(), shown.ravel())
        at = np.clip(np.digitize(p, EDGES) - 1, 0, 9)
        counts, predicted, observed = (np.bincount(at, w, 10) for w in (None, p, shown.astype(float)))
        found += [
            {"way": way, "bin": b, "rows": counts[b], "predicted": predicted[b], "observed": observed[b]}
            for b in range(10)
        ]
    return found


def priors(family: str) -> dict[str, Any]:
    """Those that parameters are drawn from; that of the threshold is symmetric."""
    at = {"Intercept": INTERCEPT} if family == "bernoulli" else {"thresholds": INTERCEPT, "gaps": GAP}
    return {**at, "x": SLOPE, "sd_g": SD}


def go_on(path: Path, replications: int, draws: int) -> pd.DataFrame:
    """Append the replications that a file lacks, one of every family after the other; returns all."""
    done = set(map(tuple, pd.read_csv(path)[["family", "seed"]].to_numpy())) if path.exists() else set()
    columns = ["family", "seed", "way", "bin", "rows", "predicted", "observed"]
    for seed in range(replications):
        for family in CLASSES:
            if (family, seed) not in done:
                found = pd.DataFrame(replicate(family, seed, draws)).assign(family=family, seed=seed)
                found.reindex(columns=columns).to_csv(path, mode="a", header=not path.exists(), index=False)
    return pd.read_csv(path)


def tabulate(found: pd.DataFrame) -> pd.DataFrame:
    """Shares by bin over all replications, with the z score of their difference."""
    lines = []
    for (family, way, b), mine in found.groupby(["family", "way", "bin"], sort=False):
        difference, rows = mine["observed"] - mine["predicted"], mine["rows"].sum()
        if (mine["rows"] > 0).sum() < 10:  # too few replications have rows in this bin for a standard error
            continue
        error = np.sqrt(len(mine)) * difference.std()
        lines.append(
            {
                "family": family,
                "way": way,
                "probability": f"{EDGES[int(b)]:.1f} to {EDGES[int(b) + 1]:.1f}",
                "rows": int(rows),
                "predicted": mine["predicted"].sum() / rows,
                "observed": mine["observed"].sum() / rows,
                "z": difference.sum() / error,
            }
        )
    return pd.DataFrame(lines)


def main() -> None:
    """Go on with all families, and judge all bins so far."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} short replications of each, from the beginning")
    arguments = parser.parse_args()
    OUTPUT.mkdir(exist_ok=True)
    replications, draws, path = arguments.replications, 250, OUTPUT / "class_calibration.csv"
    if arguments.quick:
        replications, draws, path = QUICK, 100, OUTPUT / "class_calibration_quick.csv"
        path.unlink(missing_ok=True)
    found = go_on(path, replications, draws)
    for way, number in found.loc[found["bin"].isna(), "way"].value_counts().items():
        print(f"{number} data sets: {way}")
    bad = found["way"].str.startswith("refused").any()
    table = tabulate(found[found["bin"].notna()])
    if not arguments.quick:
        show(table)
        judged = table.groupby(["family", "way"], sort=False)["z"].agg(
            lambda z: stats.chi2.sf(np.square(z).sum(), len(z))
        )
        show(judged.rename("p").reset_index())
        bad |= judged.drop("new, average group", level="way").min() < GROSS
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
