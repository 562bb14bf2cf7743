"""Each family and link against maximum likelihood in R: common effects in posterior standard deviations.

    python benchmarks/families_vs_lme4.py FOLDER

FOLDER holds tables of the public registry MixedBench (`documented.py` says which); they are not part of this
project, and without FOLDER only models of our own data sets are fitted. R's estimates are in
``families_vs_lme4.json``, written by ``families_vs_lme4.R``: no R is needed here.

With weak priors and many groups, a posterior mean should be close to the maximum of the likelihood: with 30 groups or
more, less than 0.3 posterior standard deviations from it in each common effect. The largest distance of a model is
reported with its components, as signed steps that add up to it:

- approximation: from R's estimate to the maximum of the likelihood by quadrature (`quadrature.py`); glmmTMB maximises
  Laplace's approximation;
- mean of likelihood: on to the mean under flat priors of the common effects and the group's standard deviation (the
  auxiliary parameters keep theirs), by importance sampling from the same likelihood, as the mean of a skewed one is not
  at its maximum;
- priors: on to the mean under the priors of the fit, by the same draws;
- sampler: on to the mean of our draws. Only this step would show an error of ours; ``z`` is the largest such step of
  all common effects in Monte Carlo errors, of the draws and of importance sampling together.

A row per model is written to ``benchmarks/output/families_vs_lme4_<sampler>.csv`` as soon as it is ready; models
already in the file are not fitted again. The table is printed, and written next to it (``.md``). ``--quick`` always
fits two models of our own data sets, and fails if a distance is above 0.5 or a z above 5.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from documented import read_table
from quadrature import DENSITY, Likelihood, Point, weighted_draws
from tables import OUTPUT

import bayesmixed as bm
from bayesmixed import datasets
from bayesmixed.posterior.diagnostics import convergence

HERE = Path(__file__).parent
NEAR, MANY_GROUPS = 0.3, 30
GROSS, GROSS_Z = 0.5, 5.0
STEPS = "approximation", "mean of likelihood", "priors", "sampler"


class Model(NamedTuple):
    """A data set, a table of the registry or one of ours, and what is fitted to it."""

    data: str
    formula: str
    table: str = ""  # empty: our own
    families: tuple[tuple[str, tuple[str, ...]], ...] = ()  # with links


PROBABILITY = "logit", "probit", "cloglog"
MODELS = (
    Model("grouseticks", "TICKS ~ YEAR + cHEIGHT + (1 | BROOD)", families=(("poisson", ("log",)),)),
    Model("cbpp", "p(incidence, size) ~ period + (1 | herd)", families=(("binomial", PROBABILITY),)),
    Model(
        "epilepsy",
        "seizures ~ treat + expind + treat:expind + offset(log(timeadj)) + (1 | id)",
        "faraway__epilepsy",
        (("negativebinomial", ("log",)),),
    ),
    Model(
        "respInf",
        "p(time, one) ~ age + xero + female + height + stunted + cosine + sine + (1 | id)",
        "gamlss.data__respInf",
        (("binomial", ("logit",)),),
    ),
    Model(
        "AMTL",
        "p(num_amtl, sockets) ~ age + tooth_class + prob_male + (1 | specimen)",
        "rethinking__data-AMTL.csv",
        (("binomial", PROBABILITY),),
    ),
    Model(
        "durationsGe",
        "DurationOfPrefix ~ log(Frequency) + SpeechRate + (1 | Speaker)",
        "languageR__durationsGe",
        (("gamma", ("log",)), ("lognormal", ("identity",))),
    ),
    Model(
        "MultResp",
        "respons ~ mode + varlevel + year + saliency + (1 | source)",
        "hox__MultResp.sav",
        (("beta", PROBABILITY),),
    ),
    Model("hodges", "prind ~ enrolled + (1 | state)", "gamlss.data__hodges", (("t", ("identity",)),)),
)
QUICK = (("cbpp", "logit"),)


def read(model: Model, folder: Path | None) -> pd.DataFrame:
    """The rows of a model."""
    if not model.table:
        frame = getattr(datasets, f"load_{model.data}")()
        return frame.astype({"YEAR" if model.data == "grouseticks" else "period": "category"})
    frame = read_table(folder, model.table, "")
    if model.data == "respInf":
        frame["one"] = 1
    if model.data == "hodges":
        frame["enrolled"] = frame["enind"] / 1000
    used = [name for name in frame.columns if pd.Series([model.formula]).str.contains(rf"\b{name}\b").item()]
    return frame[used].dropna()


def common_effects(est: bm.MixedModelRegressor) -> pd.DataFrame:
    """Draws of the common effects, shape (draws, p), under the names that R gives them."""
    posterior = est.idata_["posterior"]
    draws = {"Intercept": posterior["Intercept"].values.ravel()}
    if "beta" in posterior:
        for name in posterior["common_effect"].values:
            plain = name.replace("[", "").replace("]", "")
            draws[plain] = posterior["beta"].sel(common_effect=name).values.ravel()
    return pd.DataFrame(draws)


def the_likelihood(est: bm.MixedModelRegressor, frame: pd.DataFrame, family: str, link: str) -> Likelihood:
    """Of our columns, with SciPy's densities."""
    design = est.design_spec_.apply(frame)
    response = re.split(r"[(,~]", est.formula.removeprefix("p("))[0].strip()
    X = np.column_stack([np.ones(len(frame)), design.X])
    y = frame[response].to_numpy(float)
    return Likelihood(family, link, y, X, design.groups[0].codes, design.offset, design.trials)


def the_maximum(likelihood: Likelihood, peer: dict[str, Any]) -> np.ndarray:
    """Common effects where the likelihood is greatest, searched from R's answer on."""
    auxiliary = np.ones(len(DENSITY[likelihood.family][0]))
    if likelihood.family == "t":
        auxiliary = np.array([likelihood.y.std(), 5.0])
    start = Point(np.array(peer["estimates"]), max(peer["group_sd"], 0.05), auxiliary)
    return likelihood.maximise(start, np.array(peer["errors"])).beta


def the_means(
    est: bm.MixedModelRegressor, likelihood: Likelihood, beta: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posterior means of the common effects by importance sampling, and what the sampler knows nothing of.

    Returns
    -------
    flat : numpy.ndarray of shape (p,)
        With flat priors of the common effects and the group's standard deviation.
    posterior : numpy.ndarray of shape (p,)
        With the priors of the fit.
    error : numpy.ndarray of shape (p,)
        Monte Carlo error of the latter.
    """
    names, posterior, priors = DENSITY[likelihood.family][0], est.idata_["posterior"], est.priors_
    [(factor, group_sd)] = priors.group_sd.items()
    sds, *auxiliary = (posterior[name].values.ravel() for name in (f"sd_{factor}", *names))
    near = np.column_stack([beta, sds, *map(np.log, auxiliary)])
    points, log_weights = weighted_draws(likelihood, near)
    p = beta.shape[1]
    beta, sds, logs = points[:, :p], points[:, p], points[:, p + 1 :]
    log_weights = log_weights + logs.sum(axis=1)  # a density of the logarithms
    for name, values in zip(names, np.exp(logs).T, strict=True):
        log_weights = log_weights + priors.auxiliary[name].log_density(values)
    labels = est.design_spec_.common.names
    swept = np.linalg.solve(priors.common_sweep(labels), beta.T)  # where priors are stated; beta = T beta^s
    log_prior = priors.intercept.log_density(swept[0]) + group_sd["Intercept"].log_density(sds)
    log_prior = log_prior + sum(priors.common[label].log_density(b) for label, b in zip(labels, swept[1:], strict=True))
    flat, own = (np.exp(log_w - log_w.max()) for log_w in (log_weights, log_weights + log_prior))
    flat, own = flat / flat.sum(), own / own.sum()
    error = np.sqrt(np.square(own) @ np.square(beta - own @ beta))
    return flat @ beta, own @ beta, error


def compare(model: Model, frame: pd.DataFrame, family: str, link: str, options: dict[str, Any]) -> dict[str, Any]:
    """Fit a model; the row of the table."""
    fits = json.loads((HERE / "families_vs_lme4.json").read_text())["fits"]
    [peer] = [fit for fit in fits if (fit["data"], fit["family"], fit["link"]) == (model.data, family, link)]
    if peer["rows"] != len(frame):
        raise ValueError(f"R fitted {peer['rows']} rows of {model.data}, we have {len(frame)}")
    est = bm.MixedModelRegressor(model.formula, family=family, link=link, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started = time.perf_counter()
        est.fit(frame)
        seconds = time.perf_counter() - started
    draws = common_effects(est)
    theirs = pd.Series(peer["estimates"], peer["names"])
    if set(theirs.index) != set(draws.columns):
        raise ValueError(f"common effects of R: {list(theirs.index)}, ours: {list(draws.columns)}")
    ours, sd, theirs = draws.mean().to_numpy(), draws.std().to_numpy(), theirs[draws.columns].to_numpy()
    likelihood = the_likelihood(est, frame, family, link)
    highest = the_maximum(likelihood, peer)
    flat, posterior, error = the_means(est, likelihood, draws.to_numpy())
    mc_error = sd / np.sqrt([convergence(draws[name].to_numpy().reshape(est.chains, -1)).ess_bulk for name in draws])
    far = int(np.abs((ours - theirs) / sd).argmax())
    info = est.diagnostics_
    # what the distance is made of, exactly: from R to the maximum, and on over two means to ours
    steps = np.diff([theirs, highest, flat, posterior, ours], axis=0)[:, far] / sd[far]
    return {
        "family": family,
        "link": link,
        "data": model.data,
        "N": len(frame),
        "J": int(likelihood.codes.max()) + 1,
        "engine": info["sampler"],
        "seconds": seconds,
        "R-hat": info["max_r_hat"],
        "ESS": min(info["min_ess_bulk"], info["min_ess_tail"]),
        "divergences": info["divergences"],
        "peer": f"{peer['software']}, {peer['method']}",
        "distance": (ours - theirs)[far] / sd[far],
        "of": draws.columns[far],
        **dict(zip(STEPS, steps, strict=True)),
        "z": float(np.abs((ours - posterior) / np.hypot(error, mc_error)).max()),
        "warnings": "; ".join(sorted({str(one.message)[:200] for one in caught})),
    }


def markdown(table: pd.DataFrame) -> str:
    """The table, numbers to a few digits; what is above `NEAR` with `MANY_GROUPS` is bold."""
    digits = {"seconds": ".1f", "R-hat": ".3f", "ESS": ".0f", "z": ".1f"}
    digits |= dict.fromkeys(STEPS, "+.3f")
    columns = [name for name in table.columns if name != "warnings"]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for _, row in table.iterrows():
        far = row["J"] >= MANY_GROUPS and abs(row["distance"]) > NEAR
        said = {name: format(row[name], digits[name]) if name in digits else str(row[name]) for name in columns}
        said["distance"] = f"**{row['distance']:+.3f}**" if far else f"{row['distance']:+.3f}"
        lines.append("| " + " | ".join(said.values()) + " |")
    return "\n".join(lines)


def main() -> None:
    """Fit what is not yet there, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="of the registry's tables; default: our own data only")
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="two models, not kept")
    arguments = parser.parse_args()
    options = {"sampler": arguments.sampler, "random_state": arguments.seed}
    OUTPUT.mkdir(exist_ok=True)
    path = OUTPUT / f"families_vs_lme4_{arguments.sampler}.csv"
    kept = pd.read_csv(path) if path.exists() and not arguments.quick else pd.DataFrame()
    rows = kept.to_dict("records")
    done = {(row["data"], row["family"], row["link"]) for row in rows}
    for model in MODELS:
        if model.table and (arguments.folder is None or arguments.quick):
            continue
        frame = read(model, arguments.folder)
        for family, link in ((family, link) for family, links in model.families for link in links):
            if (model.data, family, link) in done or (arguments.quick and (model.data, link) not in QUICK):
                continue
            rows.append(compare(model, frame, family, link, options))
            print(f"{model.data} | {family} | {link}: {rows[-1]['distance']:+.3f} of {rows[-1]['of']}", flush=True)
            if not arguments.quick:
                pd.DataFrame(rows).to_csv(path, index=False)
    table = pd.DataFrame(rows)
    print(markdown(table))
    if arguments.quick:
        sys.exit(bool((table["distance"].abs() > GROSS).any() or (table["z"] > GROSS_Z).any()))
    path.with_suffix(".md").write_text(markdown(table) + "\n")


if __name__ == "__main__":
    main()
