"""Predictive intervals are honest: 90 % of 90 % intervals contain the true value, with new groups and `condition` too.

    python benchmarks/interval_coverage.py --replications 400

In every replication, all parameters are drawn from explicit priors, then data, which are fitted with the same priors.
Intervals of the response are compared with fresh rows, intervals of the mean with their linear predictor: in known
groups and in two new ones, before and after `condition` has seen 1, 3 and 10 rows of each new group. As the
parameters come from their prior, the expected coverage is the nominal one, exactly (apart from the finite number of
draws). Rows of a replication depend on each other, so their share inside is one observation; standard errors are
those over replications.

Prints coverage by design, groups, rows conditioned on, kind and level; the same by how `condition` was done (weights,
or the sampler run anew); how often the sampler gave up, and how many ConvergenceWarnings there were. Data sets for
which the sampler gave up are left out, and the two ways of `condition` are tabulated separately: both depend only on
the fitted rows and the seed. Given these, true and drawn parameters have the same distribution, so coverage stays
exact. It would not in means over different numbers of rows for one way: the way taken with 10 rows says something about
how well 3 of them predict the truth.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from collapsed_sbc import ETA, PRIORS, Case, draw_prior
from tables import save, show

import bayesmixed as bm

LEVELS = {"50 %": 0.5, "90 %": 0.9}
LEARNED = [1, 3, 10]  # rows of each new group
TARGETS = 2  # fresh rows of each new group
# what diagnostics_["reason"] says of `condition`
WAYS = {  # the first that the reason has
    "draws were weighted": "weights",
    "Pareto k-hat": "anew: k-hat",
    "sampled anew": "anew: convergence",
}
EVENTS = ["runs", "refused", "ConvergenceWarning", *WAYS.values()]
Events = Counter[tuple[str, str]]  # by step


class Design(NamedTuple):
    """A model; `layout` draws the levels of a replication's rows, `new` are the columns that name a new group."""

    formula: str
    slopes: dict[str, tuple[str, ...]]
    new: list[str]
    layout: Callable[[np.random.Generator], dict[str, pd.DataFrame]]


def of_groups(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """8 groups of 4 to 8 rows, and two new ones."""
    return {
        "fit": pd.DataFrame({"g": np.repeat(np.arange(8), rng.integers(4, 9, 8))}),
        "known": pd.DataFrame({"g": np.arange(8)}),
        "learn": pd.DataFrame({"g": np.repeat([8, 9], max(LEARNED))}),
        "new": pd.DataFrame({"g": np.repeat([8, 9], TARGETS)}),
    }


def crossed(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """6 x 5, once each; two new levels of g meet known ones of h."""
    g, h = np.divmod(np.arange(30), 5)
    return {
        "fit": pd.DataFrame({"g": g, "h": h}),
        "known": pd.DataFrame({"g": np.arange(6), "h": rng.integers(0, 5, 6)}),
        "learn": pd.DataFrame({"g": np.repeat([6, 7], max(LEARNED)), "h": rng.integers(0, 5, 2 * max(LEARNED))}),
        "new": pd.DataFrame({"g": np.repeat([6, 7], TARGETS), "h": rng.integers(0, 5, 2 * TARGETS)}),
    }


def nested(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """4 groups of 3 subgroups of 3 rows; a new subgroup in each of two known groups."""
    a, b = np.divmod(np.arange(12), 3)
    known = pd.DataFrame({"a": a, "b": b})
    new = pd.DataFrame({"a": rng.choice(4, 2, replace=False), "b": 3})
    return {
        "fit": known.loc[np.repeat(known.index, 3)],
        "known": known,
        "learn": new.loc[np.repeat(new.index, max(LEARNED))],
        "new": new.loc[np.repeat(new.index, TARGETS)],
    }


DESIGNS = {
    "1: slopes": Design("y ~ x + (x | g)", {"g": ("x",)}, ["g"], of_groups),
    "2: crossed": Design("y ~ x + (1 | g) + (1 | h)", {"g": (), "h": ()}, ["g"], crossed),
    "3: nested": Design("y ~ x + (1 | a/b)", {"a": (), "a:b": ()}, ["a", "b"], nested),
}


def simulate(design: Design, rng: np.random.Generator) -> tuple[Case, dict[str, pd.DataFrame]]:
    """Draw parameters from their priors, then rows; returns what was drawn for and, by part, rows with mean and y."""
    frame = pd.concat(design.layout(rng), names=["part"]).reset_index("part").reset_index(drop=True)
    frame["x"] = rng.normal(size=len(frame))
    case = Case(design.formula, frame, design.slopes)
    truth = {name: draw_prior(prior, rng) for name, prior in PRIORS.items()}
    mean = truth["Intercept"] + truth["beta"] * frame["x"].to_numpy()
    mean += case.draw_effects(rng)[0]
    frame = frame.assign(mean=mean, y=mean + truth["sigma"] * rng.normal(size=len(frame)))
    return case, dict(list(frame.groupby("part")))


def attempt(
    step: Callable[[pd.DataFrame], bm.MixedModelRegressor], rows: pd.DataFrame, name: str, events: Events
) -> bm.MixedModelRegressor | None:
    """Run a fit or a `condition`, and count what it says; None if the sampler refuses the data."""
    events[name, "runs"] += 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        warnings.simplefilter("always", bm.ConvergenceWarning)
        try:
            est = step(rows)
        except bm.SamplerError as error:
            events[name, "refused"] += 1
            events[name, f"refused: {error}"] += 1
            return None
    events[name, "ConvergenceWarning"] += len(caught)
    return est


def covered(est: bm.MixedModelRegressor, targets: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Share of the targets that lie inside their intervals, by groups, kind and level."""
    rows = pd.concat(targets, names=["groups"]).reset_index("groups")
    found = []
    for kind, truth in (("response", rows["y"]), ("mean", rows["mean"])):
        for level, coverage in LEVELS.items():
            low, high = est.predict_interval(rows, coverage, kind, new_groups="sample").T
            shares = ((low < truth) & (truth < high)).groupby(rows["groups"]).mean()
            found += [{"groups": groups, "kind": kind, "level": level, "share": x} for groups, x in shares.items()]
    return found


def replicate(name: str, seed: int, draws: int, events: Events) -> list[dict[str, Any]]:
    """Simulate, fit, condition, and look what intervals hold; nothing of what the sampler refuses."""
    design, number = DESIGNS[name], list(DESIGNS).index(name)
    case, rows = simulate(design, np.random.default_rng([seed, 2, number]))
    model = bm.MixedModelRegressor(
        case.formula, priors=case.priors, lkj_eta=ETA, sampler="collapsed", draws=draws, random_state=seed
    )
    est = attempt(model.fit, rows["fit"], "fit", events)
    if est is None:
        return []
    targets = {part: rows[part] for part in ("known", "new")}
    found = [{"learned": 0, "way": "", **row} for row in covered(est, targets)]
    for n in LEARNED:
        step = f"condition on {n:2}"
        updated = attempt(est.condition, rows["learn"].groupby(design.new).head(n), step, events)
        if updated is not None:
            way = next(way for text, way in WAYS.items() if text in updated.diagnostics_["reason"])
            events[step, way] += 1
            found += [{"learned": n, "way": way, **row} for row in covered(updated, targets)]
    return [{"design": name, "seed": seed, **row} for row in found]


def tabulate(found: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Coverage over replications, its standard error and z score."""
    one_each = found.groupby(["design", "seed", *keys], sort=False)["share"].mean()
    table = one_each.groupby(keys, sort=False).agg(replications="size", coverage="mean", se="sem").reset_index()
    table["z"] = (table["coverage"] - table["level"].map(LEVELS)) / table["se"]
    return table


def show_wide(table: pd.DataFrame) -> None:
    """Print a table, levels side by side."""
    numbers = ["coverage", "se", "z"]
    wide = table.pivot(index=[key for key in table if key not in ("level", *numbers)], columns="level")[numbers]
    wide = wide[[(number, level) for level in LEVELS for number in numbers]]
    wide.columns = [f"{level}: {number}" if number == "coverage" else number for number, level in wide.columns]
    show(wide.reset_index())


def count(events: Events) -> pd.DataFrame:
    """A row per step, a column per event."""
    steps = dict.fromkeys(step for step, _ in events)
    return pd.DataFrame([{"step": step, **{event: events[step, event] for event in EVENTS}} for step in steps])


def run(name: str, seeds: range, draws: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All replications of a design; prints its tables."""
    started, events = time.perf_counter(), Counter()
    found = pd.DataFrame([row for seed in seeds for row in replicate(name, seed, draws, events)])
    print(f"{name}: {DESIGNS[name].formula}, {time.perf_counter() - started:.0f} s")
    show_wide(tabulate(found, ["groups", "learned", "kind", "level"]))
    show(count(events))
    print(flush=True)
    return found, count(events).assign(design=name)


def main() -> None:
    """Cover all designs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replications", type=int, default=400)
    parser.add_argument("--draws", type=int, default=250, help="per chain, of four")
    parser.add_argument("--first-seed", type=int, default=0, help="other seeds are other replications")
    parser.add_argument("--design", choices=list(DESIGNS), help="default: all")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.replications)
    runs = [run(name, seeds, arguments.draws) for name in ([arguments.design] if arguments.design else DESIGNS)]
    found, events = (pd.concat(tables) for tables in zip(*runs, strict=True))
    save(events.to_dict("records"), "coverage_events")
    save(found.to_dict("records"), "coverage_shares")
    table = tabulate(found.assign(model=found["design"]), ["model", "groups", "learned", "kind", "level"])
    save(table.to_dict("records"), "coverage")
    print("By the way that condition went, over all designs:")
    conditioned = found[found["learned"] > 0].assign(way=lambda f: f["way"].str.partition(":")[0])
    by_way = tabulate(conditioned, ["groups", "learned", "way", "kind", "level"])
    show_wide(by_way)
    save(by_way.to_dict("records"), "coverage_by_way")
    z = table["z"]
    print(f"\n{len(z)} coverages, greatest |z| {z.abs().max():.2f}, mean z {z.mean():.2f}, ", end="")
    print(f"mean z^2 {np.square(z).mean():.2f} (those of a design depend on each other)")


if __name__ == "__main__":
    main()
