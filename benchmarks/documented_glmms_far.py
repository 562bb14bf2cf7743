"""What the largest distances of `scoreboard.py` from glmer are made of.

    python benchmarks/documented_glmms_far.py FOLDER --rows benchmarks/results/scoreboard.csv

Signed steps in glmer's standard errors, from its estimate to the mean of our draws, for the effect that is farthest:

- approximation: from glmer's estimate by Laplace's approximation to the maximum of the likelihood by quadrature
  (`quadrature.py`), where there is one scalar effect;
- mean of likelihood: on to the mean under flat priors of the common effects and the group's standard deviation;
- priors: on to the mean under the priors of the fit, by importance sampling (`families_vs_lme4.the_means`);
- sampler: on to the mean of our draws. Only here would an error of ours show.

Models with several factors have no quadrature here: NUTS samples the same model, and one with priors ten times as wide,
whose mean stands for that under flat ones; the first two steps are one. ``z`` is the last step in Monte Carlo errors,
of draws of another seed where there is quadrature, else of those of the row (the least ESS is taken for the effect's).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from documented import Row, family_of, read_table, translate_model
from documented_r import plain, r_fits
from families_vs_lme4 import STEPS, common_effects, the_likelihood, the_maximum, the_means
from tables import OUTPUT, markdown

import bayesmixed as bm
from bayesmixed.distributions import HalfNormal, Normal
from bayesmixed.posterior.diagnostics import convergence

WIDER = 10.0
LEGEND = """Why some common effects are far from glmer's: *from Laplace*, the distance of our mean from glmer's estimate
by Laplace's approximation, in its standard errors (the scoreboard compares with glmer by quadrature where there is one
scalar group effect), and the steps that add up to it. *approximation*: to the maximum of the likelihood by quadrature;
*mean of likelihood*: on to the mean under flat priors; *priors*: on to the mean under the priors of the fit; *sampler*:
on to the mean of our draws, where alone an error of ours would show, with *z* this step in Monte Carlo errors. *twin*:
what the means are compared with.

"""
LINKS = {"binomial": "logit", "poisson": "log"}


def fit(model: Row, folder: Path, **options: Any) -> tuple[bm.MixedModelRegressor, pd.DataFrame]:
    """As in `scoreboard`; the estimator, and its rows."""
    formula, frame = translate_model(model, read_table(folder, model["file"], model["types"]))
    est = bm.MixedModelRegressor(formula, **family_of(model), random_state=1, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return est.fit(frame), frame


def wide(priors: Any) -> Any:
    """The same priors, many times as wide."""

    def wider(prior: Any) -> Any:
        return Normal(0, WIDER * prior.sigma) if isinstance(prior, Normal) else HalfNormal(WIDER * prior.sigma)

    return dataclasses.replace(
        priors,
        intercept=None if priors.intercept is None else wider(priors.intercept),
        common={name: wider(prior) for name, prior in priors.common.items()},
        group_sd={name: {k: wider(p) for k, p in sds.items()} for name, sds in priors.group_sd.items()},
    )


def mean_errors(draws: pd.DataFrame, chains: int) -> np.ndarray:
    """Monte Carlo errors of the means."""
    ess = [convergence(draws[name].to_numpy().reshape(chains, -1)).ess_bulk for name in draws]
    return draws.std().to_numpy() / np.sqrt(ess)


def by_quadrature(est: bm.MixedModelRegressor, frame: pd.DataFrame, laplace: Row) -> list[np.ndarray]:
    """The maximum of the likelihood, the means under flat priors and under those of the fit, and the error of these."""
    draws = common_effects(est)
    likelihood = the_likelihood(est, frame, est.family, LINKS[est.family])
    theirs, errors = (pd.Series(laplace[key], map(plain, laplace["names"])) for key in ("estimates", "errors"))
    names = [plain(name) for name in draws]
    [sd] = laplace["sds"].values()
    peer = {"estimates": theirs[names].tolist(), "errors": errors[names].tolist(), "group_sd": sd}
    return [the_maximum(likelihood, peer), *the_means(est, likelihood, draws.to_numpy())]


def by_nuts(model: Row, folder: Path) -> tuple[list[str], list[np.ndarray]]:
    """Names; no maximum, the means under wide priors and under those of the fit, and the error of these."""
    est, _ = fit(model, folder, sampler="nuts", draws=2000)
    flat, draws = (
        common_effects(one) for one in (fit(model, folder, sampler="nuts", priors=wide(est.priors_))[0], est)
    )
    names = [plain(name) for name in draws]
    none = np.full(len(names), np.nan)
    return names, [none, flat.mean().to_numpy(), draws.mean().to_numpy(), mean_errors(draws, 4)]


def explain(row: Row, model: Row, folder: Path, glmer: Row) -> Row:
    """A line of the table."""
    one, laplace = "quadrature" in glmer, glmer["laplace"]
    of_glmer = list(map(plain, laplace["names"])).index(row["effect"])
    theirs, error = laplace["estimates"][of_glmer], laplace["errors"][of_glmer]
    if one:
        est, frame = fit(model, folder, sampler="transport", draws=4000)
        draws = common_effects(est)
        at = [plain(name) for name in draws].index(row["effect"])
        ours, own_error = draws.mean().to_numpy()[at], mean_errors(draws, est.chains)[at]
        highest, flat, posterior, mc = by_quadrature(est, frame, laplace)
    else:  # the draws of the row
        ours, own_error = row["ours"], row["our_sd"] / np.sqrt(row["min_ess_bulk"])
        names, (highest, flat, posterior, mc) = by_nuts(model, folder)
        at = names.index(row["effect"])
    steps = np.diff([theirs, highest[at], flat[at], posterior[at], ours]) / error
    if not one:
        steps[1] = (flat[at] - theirs) / error
    return {
        "id": row["id"],
        "effect": row["effect"],
        "from Laplace": (ours - theirs) / error,
        **dict(zip(STEPS, steps, strict=True)),
        "z": (ours - posterior[at]) / np.hypot(mc[at], own_error),
        "twin": "quadrature" if one else "NUTS",
    }


def main() -> None:
    """Explain the largest, one by one; lines that are there are kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=Path, default=OUTPUT / "scoreboard.csv")
    parser.add_argument("--number", type=int, default=10)
    arguments = parser.parse_args()
    fits = r_fits(arguments.folder)
    models = pd.read_csv(arguments.folder / "models.csv", keep_default_na=False).set_index("id", drop=False)
    rows = pd.read_csv(arguments.rows)
    rows = rows[rows["difference"].notna() & rows["type"].isin(("binary", "binomial", "count"))].to_dict("records")
    rows.sort(key=lambda row: -abs(row["difference"]))
    out = OUTPUT / "documented_glmms_far.csv"
    lines = pd.read_csv(out).to_dict("records") if out.exists() else []
    for row in rows[: arguments.number]:
        if row["id"] in [line["id"] for line in lines]:
            continue
        lines.append(explain(row, models.loc[row["id"]].to_dict(), arguments.folder, fits[row["id"]]))
        print(json.dumps(lines[-1]), flush=True)
        pd.DataFrame(lines).to_csv(out, index=False)
    text = LEGEND + markdown(pd.DataFrame(lines), dict.fromkeys(("from Laplace", *STEPS), "+.2f") | {"z": "+.1f"})
    print(text)
    out.with_suffix(".md").write_text(text + "\n")


if __name__ == "__main__":
    main()
