"""Predictive intervals of counts, shares and positive responses have their stated coverage, in known and new groups.

    python benchmarks/family_coverage.py --replications 200    # a quarter of an hour; it may be stopped
    python benchmarks/family_coverage.py --quick               # seconds

In every replication, parameters are drawn from stated priors (`family_cases.py`), then data, which are fitted with the
same priors: the expected share of responses inside their intervals is the posterior predictive probability of the
intervals, exactly (apart from the finite number of draws). It is the nominal one if the response is continuous. An
interval of whole numbers cannot have just that probability and has a larger one: its expected coverage is the mean over
draws of cdf(upper) - cdf(lower - 1), by SciPy's distribution function, with the effects of new groups drawn.

Fresh rows, one from every known group and one from each of as many new groups, have a response drawn from the true
parameters; both ends belong to an interval. For binary and count models, new groups are predicted once more after
`condition` has seen three rows of each. Shares are averaged over the rows of a replication, which depend on each
other, and appended to ``benchmarks/output/family_coverage.csv`` as they come; a second call continues after the last
one. Prints observed and expected coverage, the standard error of their difference over replications, and its z score.
A fit that the sampler rejects counts as a failure; the exit status is 1 if there is one, or if a z score is beyond 4
(with --quick only the former).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from family_cases import FamilyCase, cases
from interval_coverage import LEVELS, Events, attempt
from swept_sbc import REFUSED
from tables import OUTPUT, show

import bayesmixed as bm
from bayesmixed._compat import dataset

FAMILIES = ("binomial", "Poisson", "negative binomial", "gamma", "Bernoulli q=2")
CONDITIONED = ("Poisson", "Bernoulli q=2")
LEARNED = 3  # rows of each new group
DISCRETE = ("binomial", "poisson", "negativebinomial")
QUICK, GROSS = 2, 4.0


def layout(case: FamilyCase, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of the design, and one fresh row of every known group and of as many new ones; `part` tells them apart.

    Of the new ones there are further rows to learn from.
    """
    fit = case.frame
    levels = np.unique(fit["g"])
    known = fit.sample(len(levels), random_state=rng).assign(g=levels)  # other columns as they are in the design
    new = fit.sample(len(levels), random_state=rng).assign(g=len(levels) + levels)
    learn = fit.sample(LEARNED * len(levels), replace=True, random_state=rng.spawn(1)[0])
    learn = learn.assign(g=np.tile(len(levels) + levels, LEARNED))
    parts = {"fit": fit, "known": known, "new": new, "learn": learn}
    return pd.concat(parts, names=["part"]).reset_index("part").reset_index(drop=True)


def replicate(case: FamilyCase, seed: int, draws: int) -> list[dict[str, Any]]:
    """Simulate, fit, and look what intervals hold, and should; the reason alone where the sampler refuses."""
    rng = np.random.default_rng([seed, 3])
    frame = layout(case, rng)
    y, _ = case.of_rows(frame).simulate(rng)
    parts = dict(list(frame.assign(y=y).groupby("part")))
    model = bm.MixedModelRegressor(case.formula, priors=case.priors, draws=draws, random_state=seed, **case.estimator)
    events: Events = Counter()
    est = attempt(model.fit, parts["fit"], "fit", events)
    if est is None:
        return [{"groups": event} for _, event in events if event.startswith(f"{REFUSED}:")]
    asked = {"known": (est, parts["known"]), "new": (est, parts["new"])}
    if case.name in CONDITIONED:
        learned = attempt(est.condition, parts["learn"], "condition", events)
        if learned is None:
            return [{"groups": event} for _, event in events if event.startswith(f"{REFUSED}:")]
        asked["conditioned"] = (learned, parts["new"])
    warned = events["fit", "ConvergenceWarning"] + events["condition", "ConvergenceWarning"]
    return [
        {"groups": groups, "level": level, **shares(case, model, rows, coverage), "warned": warned}
        for groups, (model, rows) in asked.items()
        for level, coverage in LEVELS.items()
    ]


def shares(case: FamilyCase, est: bm.MixedModelRegressor, rows: pd.DataFrame, coverage: float) -> dict[str, float]:
    """Observed and expected share of the rows inside of their intervals."""
    low, high = est.predict_interval(rows, coverage, new_groups="sample").T
    eta = est.predict_draws(rows, "linear", new_groups="sample").to_numpy()
    posterior = dataset(est.idata_, "posterior")
    response = case.of_rows(rows).response(eta, {name: posterior[name].to_numpy() for name in case.auxiliary})
    below = low - 1 if case.family in DISCRETE else low
    expected = response.cdf(high) - response.cdf(below)
    return {"observed": rows["y"].between(low, high).mean(), "expected": expected.mean()}


def go_on(path: Path, replications: int, draws: int) -> pd.DataFrame:
    """Append the replications that a file lacks, one of every family after the other; returns all."""
    done = set(map(tuple, pd.read_csv(path)[["family", "seed"]].to_numpy())) if path.exists() else set()
    columns = ["family", "seed", "groups", "level", "observed", "expected", "warned"]
    for seed in range(replications):
        for number, name in enumerate(FAMILIES):
            if (name, seed) not in done:
                found = replicate(cases()[name], seed * len(FAMILIES) + number, draws)
                table = pd.DataFrame(found).assign(family=name, seed=seed).reindex(columns=columns)
                table.to_csv(path, mode="a", header=not path.exists(), index=False)
    return pd.read_csv(path)


def tabulate(found: pd.DataFrame) -> pd.DataFrame:
    """Coverage over replications, the standard error of its difference to the expected one, and z score."""
    found = found.assign(difference=found["observed"] - found["expected"])
    by = found.groupby(["family", "groups", "level"], sort=False)
    table = by.agg(
        fits=("seed", "size"), observed=("observed", "mean"), expected=("expected", "mean"), se=("difference", "sem")
    ).reset_index()
    table["z"] = (table["observed"] - table["expected"]) / table["se"]
    return table


def main() -> None:
    """Go on with all families, and judge all shares so far."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} short replications of each, from the beginning")
    arguments = parser.parse_args()
    OUTPUT.mkdir(exist_ok=True)
    replications, draws, path = arguments.replications, 250, OUTPUT / "family_coverage.csv"
    if arguments.quick:
        replications, draws, path = QUICK, 100, OUTPUT / "family_coverage_quick.csv"
        path.unlink(missing_ok=True)
    found = go_on(path, replications, draws)
    is_refused = found["groups"].str.startswith(REFUSED)
    table = tabulate(found[~is_refused])
    show(table)
    warned = found.drop_duplicates(["family", "seed"])["warned"].sum()
    print(f"{is_refused.sum()} fits refused, {warned:.0f} warned")
    for family, seed, reason in found.loc[is_refused, ["family", "seed", "groups"]].itertuples(index=False):
        print(f"{family}, seed {seed} {reason}")
    # two replications have no standard error to speak of
    sys.exit(bool(is_refused.any() or (not arguments.quick and (table["z"].abs() > GROSS).any())))


if __name__ == "__main__":
    main()
