"""Fit binary, count, binomial and ordinal models that others documented, and compare with fits of glmer and clmm.

    python benchmarks/documented_glmms.py FOLDER

FOLDER holds tables and formulas in R's syntax of the public registry MixedBench (`documented_models.py`). glmer's
answers are in ``documented_glmms.jsonl``, which ``documented_glmms.R`` has written: no R is needed here.

Families: Poisson for counts, binomial for successes among trials, and for binary responses with one trial in each row,
cumulative with the logit link for ordinal ones, whose thresholds are among the common effects; default priors. Models
are fitted in another process, whose imports and first fit are not timed, small ones first. A row per model is written
as soon as it is there, with our estimates; those that ``--out`` holds are not fitted again, but for models that were
stopped after less than ``--limit``.

Common effects are then compared by name, in glmer's standard errors: ``difference`` is ours less glmer's by quadrature,
where there is one scalar effect, else by Laplace's approximation, of the effect where it is largest;
``from_laplace`` is the largest from the latter. Among group effects' standard deviations, ``sds_inside`` are those of
glmer's in our central 95 % intervals, which hold no 0. A table in markdown is printed, and written beside the rows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from documented import (
    FITTED,
    Row,
    Worker,
    append,
    evaluate_left,
    first_words,
    quantiles,
    read_table,
    sides,
    summarise_fits,
    tell_of_others,
    timed_fit,
    translate,
)
from tables import OUTPUT, markdown, show

import bayesmixed as bm
from bayesmixed.errors import FormulaError

HERE = Path(__file__).parent
FAMILIES = {"binary": "binomial", "binomial": "binomial", "count": "poisson", "ordinal": "cumulative"}
ELSEWHERE = {"cox": "it is a survival model"}  # documented families that are no generalised linear model
SUCCESSES, TRIALS, CLASSES = "successes", "number_of_trials", "ordered_classes"
COLUMNS = ("id", "type", "n", "p", "J", *FITTED, "min_ess_tail", "thinning", "gradients_per_draw", "acceptance")
COLUMNS += ("divergences", "common", "group_sds")  # the last two in JSON: mean and sd; mean and central 95 % interval


# ---- the model in our grammar


def translate_model(model: Row, frame: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """A documented model in our grammar, and the rows and columns that it uses; see `translate`."""
    if model["family"] in ELSEWHERE:
        raise FormulaError(f"documented with family {model['family']!r}: {ELSEWHERE[model['family']]}")
    left, right = sides(model["formula"])
    if model["response_type"] == "ordinal":
        if left not in frame:
            raise FormulaError(f"no column {left!r} in the table")
        ordered = pd.Categorical(frame[left], ordered=True)
        return translate(CLASSES, right, frame.assign(**{CLASSES: ordered.remove_unused_categories()}))
    if model["response_type"] == "count":
        return translate(SUCCESSES, right, frame.assign(**{SUCCESSES: evaluate_left(left, frame)}))
    successes, trials = successes_and_trials(left, model, frame)
    counted = frame.assign(**{SUCCESSES: successes, TRIALS: trials})
    return translate(f"p({SUCCESSES}, {TRIALS})", right, counted)


def successes_and_trials(left: str, model: Row, frame: pd.DataFrame) -> tuple[Any, Any]:
    """Of the left side ``cbind(successes, failures)``, ``successes/trials``, or a binary response.

    The second level of a factor is the success, as in R.
    """
    if model["response_type"] == "binary":
        if left not in frame:
            raise FormulaError(f"no column {left!r} in the table")
        values = frame[left]
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.cat.codes.where(values.notna()).astype(float)
        if values.dropna().nunique() != 2:
            raise FormulaError(f"response {left!r} has {values.nunique()} values, not 2")
        return values.astype(float), 1
    if pair := re.fullmatch(r"cbind\((.+?),(.+)\)", left):
        successes, failures = (evaluate_left(side.strip(), frame) for side in pair.groups())
        return successes, successes + failures
    successes, _, trials = (side.strip() for side in left.partition("/"))
    if trials != model["trials"]:
        raise FormulaError(f"left side {left!r} is neither cbind() nor a share of {model['trials']!r}")
    return evaluate_left(successes, frame), evaluate_left(trials, frame)


# ---- comparison with glmer


def glmer_fits() -> dict[str, Row]:
    """What R answered, by the model."""
    return {fit["id"]: fit for fit in map(json.loads, (HERE / "documented_glmms.jsonl").open())}


def plain(name: str) -> str:
    """A common effect's name, ours or R's, without what the two write differently."""
    name = re.sub(r"(\d)\.0\b", r"\1", re.sub(r"[\[\]`]", "", name).lower())  # whole numbers that name classes
    return re.sub(r"\bc\(", "factor(", name).replace("(intercept)", "intercept")


def apart(ours: dict[str, list[float]], fit: Row) -> pd.Series:
    """Posterior means less estimates, in standard errors, by name."""
    names = [plain(name) for name in fit["names"]]
    means = np.array([ours[name][0] for name in names])
    return pd.Series((means - np.array(fit["estimates"])) / np.array(fit["errors"]), names)


def compare(row: Row, glmer: Row) -> Row:
    """Columns of the comparison, for a row of a model that was fitted."""
    if glmer["status"] != "ok":
        return {"compared": f"no: glmer {glmer['status']}: {first_words(glmer['message'])}"}
    how = "quadrature" if "quadrature" in glmer else "Laplace"
    best, sds = glmer[how.lower()], json.loads(row["group_sds"])
    theirs = {name: value for name, value in best["sds"].items() if name in sds}
    compared = {
        "compared": how,
        "glmer_messages": " | ".join(map(first_words, best["messages"])),
        "sds": len(theirs),
        "sds_zero": sum(value < 1e-4 * sds[name][0] for name, value in theirs.items()),
        "sds_inside": sum(sds[name][1] <= value <= sds[name][2] for name, value in theirs.items()),
    }
    ours = {plain(name): found for name, found in json.loads(row["common"]).items()}
    if glmer["rows"] != row["n"]:
        return compared | {"compared": f"no: {row['n']} rows, glmer used {glmer['rows']}"}
    if differ := sorted(set(ours) ^ set(map(plain, best["names"]))):
        return compared | {"compared": f"no: effects only here or only there: {', '.join(differ)}"}
    if not ours:
        return compared | {"compared": "no: no common effects"}
    if "NaN" in best["errors"]:
        return compared | {"compared": "no: R's fit has no standard errors"}
    difference, from_laplace = (apart(ours, glmer[by]) for by in (how.lower(), "laplace"))
    at, at_laplace = (one.abs().idxmax() for one in (difference, from_laplace))
    estimate = best["estimates"][list(difference.index).index(at)]
    values = {"effect": at, "ours": ours[at][0], "our_sd": ours[at][1], "theirs": estimate}
    return compared | {"difference": difference[at], **values, "from_laplace": from_laplace[at_laplace]}


# ---- fits


def first_fit() -> None:
    """The one that pays for the imports."""
    model = bm.MixedModelRegressor("p(incidence, size) ~ 1 + (1 | herd)", family="binomial", draws=100, random_state=0)
    _ = model.set_params(sampler="transport").fit(bm.datasets.load_cbpp()).idata_


def fit(model: Row, folder: Path, draws: int, sampler: str) -> Row:
    """Translate and fit one model."""
    formula, frame = translate_model(model, read_table(folder, model["file"], model["types"]))
    family = FAMILIES[model["response_type"]]
    kind = bm.MixedModelClassifier if family == "cumulative" else bm.MixedModelRegressor
    est = kind(formula, family=family, sampler=sampler, draws=draws, random_state=0)
    row = timed_fit(est, frame)
    common, sds = estimates(est)
    row |= {name: value for name, value in est.diagnostics_.items() if name in COLUMNS and name not in FITTED}
    row |= {"n": len(frame), "p": len(common), "J": min(len(spec.levels) for spec in est.design_spec_.groups)}
    return row | {"common": json.dumps(common), "group_sds": json.dumps(sds)}


def estimates(est: Any) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Mean and sd of each common effect; mean and central 95 % interval of the sd of factors that have one."""
    posterior = est.idata_["posterior"]
    draws = {"Intercept": posterior["Intercept"]} if "Intercept" in posterior else {}
    if "thresholds" in posterior:
        draws |= {name: posterior["thresholds"].sel(threshold=name) for name in posterior["threshold"].to_numpy()}
    if "beta" in posterior:
        draws |= {name: posterior["beta"].sel(common_effect=name) for name in posterior["common_effect"].to_numpy()}
    common = {str(name): [float(values.mean()), float(values.std())] for name, values in draws.items()}
    single = [spec.name for spec in est.design_spec_.groups if len(spec.effect_names) == 1]
    sds = {name: posterior[f"sd_{name}"] for name in single}
    intervals = {name: [float(sd.mean()), *np.quantile(sd, [0.025, 0.975])] for name, sd in sds.items()}
    return common, intervals


def rows_of(folder: Path, file: str) -> int:
    """Number of rows of a table."""
    with gzip.open(folder / f"{file}.csv.gz") as lines:
        return sum(1 for _ in lines) - 1


def run(folder: Path, out: Path, limit: float, draws: int, sampler: str) -> None:
    """Fit the models that `out` does not hold, and add a row for each."""
    models = pd.read_csv(folder / "models.csv", keep_default_na=False)
    models = models[models["response_type"].isin(FAMILIES)]
    models = models.assign(n=[rows_of(folder, file) for file in models["file"]]).sort_values("n", kind="stable")
    if out.exists():
        known = pd.read_csv(out)
        known = known[(known["status"] != "timeout") | (known["seconds"] >= limit)]
        known.to_csv(out, index=False)
        models = models[~models["id"].isin(known["id"])]
    worker = Worker(first_fit, fit, limit)
    try:
        for model in models.to_dict("records"):
            row = {"id": model["id"], "type": model["response_type"], "n": model["n"], "formula": model["formula"]}
            row |= worker.ask(model, folder, draws, sampler)
            print(model["id"], row["status"], row.get("engine", first_words(row.get("message"))), flush=True)
            append(row, COLUMNS, out)
    finally:
        worker.stop()


# ---- summary


def summarise(table: pd.DataFrame) -> None:
    """Print what the rows say together."""
    fitted = summarise_fits(table)
    print("thinning:", ", ".join(f"{n} by {k:g}" for k, n in fitted["thinning"].value_counts().items()))
    print(f"smallest tail ESS {fitted['min_ess_tail'].min():.0f}")
    print("\nlargest difference of a common effect from R's, in its standard errors: all; n >= 100 and J >= 10")
    large = fitted[(fitted["n"] >= 100) & (fitted["J"] >= 10)]
    show(pd.concat([quantiles(fitted["difference"].abs()), quantiles(large["difference"].abs())]))
    for how, count in fitted["compared"].value_counts().items():
        print(f"compared: {count} {how}")
    sds, inside, zero = (fitted[name].sum() for name in ("sds", "sds_inside", "sds_zero"))
    print(f"glmer's sds inside our central 95 % intervals: {inside:.0f} of {sds:.0f}; {zero:.0f} are 0 and in none")
    tell_of_others(table)


def as_markdown(table: pd.DataFrame) -> str:
    """The table, numbers to a few digits, messages shortened."""
    digits = {"n": ".0f", "p": ".0f", "J": ".0f", "seconds": ".1f", "cpu_seconds": ".1f", "max_r_hat": ".3f"}
    digits |= dict.fromkeys(("min_ess_bulk", "min_ess_tail", "thinning"), ".0f")
    digits |= dict.fromkeys(("difference", "from_laplace"), "+.2f")
    names = ["id", "type", "n", "p", "J", "status", "seconds", "cpu_seconds", "max_r_hat", "min_ess_bulk"]
    names += ["min_ess_tail", "thinning", "difference", "effect", "compared", "from_laplace", "message"]
    short = table["message"].map(lambda message: first_words(message, 30), na_action="ignore")
    return markdown(table.assign(message=short)[names], digits)


def main() -> None:
    """Fit, then sum up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=OUTPUT / "documented_glmms.csv")
    parser.add_argument("--limit", type=float, default=60, help="seconds that a model may take")
    parser.add_argument("--draws", type=int, default=1000, help="kept draws of each chain")
    parser.add_argument("--sampler", default="transport")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    print(f"bayesmixed of {Path(bm.__file__).parent}", flush=True)
    run(arguments.folder, arguments.out, arguments.limit, arguments.draws, arguments.sampler)
    fits, rows = glmer_fits(), pd.read_csv(arguments.out).to_dict("records")
    rows.sort(key=lambda row: row["n"])
    table = pd.DataFrame([row | (compare(row, fits[row["id"]]) if row["status"] == "fitted" else {}) for row in rows])
    summarise(table)
    print(as_markdown(table))
    arguments.out.with_suffix(".md").write_text(as_markdown(table) + "\n")


if __name__ == "__main__":
    main()
