"""A scoreboard of models that other people documented: fitted or not, how fast, how far from R, how well they predict.

    python benchmarks/scoreboard.py FOLDER

FOLDER holds tables, formulas in R's syntax and lme4's fits (``lmer.jsonl``) of the public registry MixedBench; its
README says what is in each file. They are not part of this project; the answers of glmer and of ordinal's clmm to the
models whose response is not continuous are (``documented_glmms.jsonl``, which ``documented_glmms.R`` has written).

Each model is translated to our grammar and fitted by default: ``sampler="auto"``, default priors, in another process,
whose imports and first fits are not timed. Families are those that are documented, else Gaussian for continuous
responses, Poisson for counts, binomial for successes among trials, and for binary responses with one trial in each row,
cumulative with the logit link for ordinal ones. Then

- common effects are compared with R's, in R's standard errors, and R's standard deviations with our central 95 %
  intervals (`documented_r.py`);
- a fifth of the rows, and a fifth of the levels of the first factor with all their rows, are held out in turn: log
  density of these rows, their mean, given the others; and the same of a fit of the common part alone, without groups
  (of 300 rows and more by 1,000 draws in place of 4,000).

Small tables first. A row per model is kept as soon as it is there, in ``benchmarks/output/scoreboard.csv``; models that
it holds are not fitted again, but for those that were stopped after less than ``--limit``. ``--report`` sums up alone.

    python benchmarks/scoreboard.py --quick

is for continuous integration: three data sets of the package in place of the registry, and no R.
"""

from __future__ import annotations

import argparse
import gzip
import os
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from documented import (
    FITTED,
    Row,
    Worker,
    append,
    family_of,
    first_words,
    read_table,
    timed_fit,
    translate_model,
)
from documented_r import OF_COMPARISON, compare, r_fits
from scoreboard_report import write_report
from tables import OUTPUT

import bayesmixed as bm
from bayesmixed.formula.parse import parse

OF_HELD_OUT = ("held_out", "rows_density", "rows_density_pooled", "levels_density", "levels_density_pooled")
COLUMNS = ("id", "type", "family", "n", "p", "J", *FITTED, "min_ess_tail", "documented", *OF_COMPARISON)
COLUMNS += (*OF_HELD_OUT, "r_status", "r_seconds", "r_messages")
SHARE = 5  # a fifth is held out
MANY = 300  # rows from which fits without those held out have a quarter of the draws
QUICK = {
    "sleepstudy": (bm.datasets.load_sleepstudy, "Reaction ~ Days + (Days | Subject)", "continuous", ""),
    "Pastes": (bm.datasets.load_pastes, "strength ~ 1 + (1 | batch/cask)", "continuous", ""),
    "cbpp": (bm.datasets.load_cbpp, "incidence/size ~ factor(period) + (1 | herd)", "binomial", "size"),
}


# ---- fits, in the worker


def make(formula: str, family: dict[str, Any], draws: int = 1000) -> Any:
    """The estimator of a model."""
    kind = bm.MixedModelClassifier if family["family"] == "cumulative" else bm.MixedModelRegressor
    return kind(formula, **family, draws=draws, random_state=0)


def rows_of(model: Row, folder: Path | None) -> tuple[str, pd.DataFrame]:
    """Formula and rows, of the registry or of --quick."""
    table = QUICK[model["id"]][0]() if folder is None else read_table(folder, model["file"], model["types"])
    return translate_model(model, table)


def first_fits() -> None:
    """Those that pay for the imports."""
    one = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0)
    _ = one.fit(bm.datasets.load_sleepstudy()).idata_
    two = bm.MixedModelRegressor("p(incidence, size) ~ 1 + (1 | herd)", family="binomial", draws=100, random_state=0)
    two.fit(bm.datasets.load_cbpp())


def work(stage: str, model: Row, fit: Row | None, folder: Path | None) -> Row:
    """Fit and compare one model, or predict what is held out of it."""
    family = family_of(model)
    formula, frame = rows_of(model, folder)
    if stage == "hold out":
        return hold_out(formula, frame, family, zlib.crc32(model["id"].encode()))
    est = make(formula, family)
    row = timed_fit(est, frame)
    groups = est.design_spec_.groups
    row |= {"n": len(frame), "p": len(est.coef_), "J": min((len(group.levels) for group in groups), default=None)}
    row |= {"min_ess_tail": est.diagnostics_["min_ess_tail"], "family": est.family}
    return row | compare(est, frame, fit)


# ---- held out


def hold_out(formula: str, frame: pd.DataFrame, family: dict[str, Any], seed: int) -> Row:
    """Mean log density of the rows that are held out, in both ways, with and without groups."""
    parsed, rng = parse(formula), np.random.default_rng(seed)
    frame = frame.reset_index(drop=True)
    pooled = f"{formula.partition('~')[0]} ~ {parsed.common.strip().lstrip('~')}"
    label = frame[list(parsed.groups[0].columns)].astype(str).agg(":".join, axis=1)
    levels = label.unique()
    some = rng.choice(levels, max(1, len(levels) // SHARE), replace=False) if len(levels) > 2 else []
    factors = {name for group in parsed.groups for name in group.columns}
    row: Row = {}
    for name, is_out in (("rows", rng.permutation(len(frame)) % SHARE == 0), ("levels", label.isin(some).to_numpy())):
        train, test = known(frame[~is_out], frame[is_out], set(parsed.variables) - factors)
        if not len(test):
            continue
        texts = {f"{name}_density": formula, f"{name}_density_pooled": pooled}
        if parsed.common.strip().lstrip("~").strip() == "0":
            del texts[f"{name}_density_pooled"]  # nothing is left
        for column, text in texts.items():
            est = make(text, family, 1000 if len(frame) < MANY else 250)
            row[column] = float(log_densities(est, train, test).mean())
    return row


def known(train: pd.DataFrame, test: pd.DataFrame, common: set[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both parts; categories that the first does not have have no effect yet, and leave the second."""
    for name in common:
        if isinstance(train[name].dtype, pd.CategoricalDtype):
            test = test[test[name].isin(train[name].unique())]
    return train.reset_index(drop=True), test.reset_index(drop=True)


def log_densities(est: Any, train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """Log of the average over draws of the density of each row: levels that are new are drawn from the population."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a row of the table has those of the fit of all rows
        est.fit(train)
    if est.family == "cumulative":
        at = pd.Index(est.classes_).get_indexer(test[parse(est.formula).response])
        return np.log(est.predict_proba(test)[np.arange(len(test)), at])
    parsed, posterior = parse(est.formula), est.idata_["posterior"]
    eta = est.predict_draws(test, kind="linear").to_numpy().reshape(-1, len(test)).T
    family = est._posterior.family
    auxiliary = {name: posterior[name].to_numpy().ravel() for name in family.auxiliary}
    if family.counts_trials:
        auxiliary["trials"] = test[parsed.trials].to_numpy(float)[:, None]
    each = family.log_density(test[parsed.response].to_numpy(float)[:, None], eta, **auxiliary)
    highest = each.max(axis=1, keepdims=True)
    return np.log(np.exp(each - highest).mean(axis=1)) + highest[:, 0]


# ---- all models


def models_of(folder: Path | None) -> list[Row]:
    """Those of the registry, small tables first, or those of --quick."""
    if folder is None:
        names = ("formula", "response_type", "trials")
        return [{"id": key, "family": "", **dict(zip(names, about[1:], strict=True))} for key, about in QUICK.items()]
    models = pd.read_csv(folder / "models.csv", keep_default_na=False)
    sizes = {file: lines_of(folder, file) for file in models["file"].unique()}
    return models.sort_values("file", key=lambda files: files.map(sizes), kind="stable").to_dict("records")


def lines_of(folder: Path, file: str) -> int:
    """Lines of a table, with its heading."""
    with gzip.open(folder / f"{file}.csv.gz") as lines:
        return sum(1 for _ in lines)


def row_of(worker: Worker, model: Row, fit: Row | None, folder: Path | None) -> Row:
    """All that is known of one model."""
    row = {"id": model["id"], "type": model["response_type"], "documented": model["formula"]}
    if fit is not None:
        row |= {"r_status": fit["status"], "r_seconds": fit.get("seconds")}
        best = fit.get("quadrature") or fit.get("laplace") or {}
        said = [*fit.get("warnings", ()), *(fit.get("messages") or best.get("messages") or ())]
        row["r_messages"] = " | ".join(map(first_words, said))
    row |= worker.ask("fit", model, fit, folder)
    if row["status"] != "fitted":
        return row
    found = worker.ask("hold out", model, fit, folder)
    said = f"{found['status']}: {first_words(found['message'], 30)}" if "status" in found else "ok"
    return row | {name: found[name] for name in OF_HELD_OUT if name in found} | {"held_out": said}


def finished(out: Path, limit: float) -> set[str]:
    """Models that need not be fitted again; lines of the others are taken out of the file."""
    if not out.exists():
        return set()
    table = pd.read_csv(out)
    table = table[~((table["status"] == "timeout") & (table["seconds"] < limit))]
    table.to_csv(out, index=False)
    return set(table["id"])


def run(folder: Path | None, out: Path, limit: float) -> None:
    """Fit the models that `out` does not hold, and add a row for each."""
    fits, done = {} if folder is None else r_fits(folder), finished(out, limit)
    worker = Worker(first_fits, work, limit)
    try:
        for model in models_of(folder):
            if model["id"] not in done:
                row = row_of(worker, model, fits.get(model["id"]), folder)
                said = row.get("engine", first_words(row.get("message")))
                print(model["id"], row["status"], said, row.get("held_out", ""), flush=True)
                append(row, COLUMNS, out)
    finally:
        worker.stop()


def main() -> None:
    """Fit, then sum up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="of the registry")
    parser.add_argument("--quick", action="store_true", help="three data sets of the package")
    parser.add_argument("--report", action="store_true", help="only write the tables again")
    parser.add_argument("--limit", type=float, default=180, help="seconds that the fit of a model may take")
    arguments = parser.parse_args()
    if arguments.folder is None and not (arguments.quick or arguments.report):
        parser.error("the FOLDER of the registry, or --quick")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    OUTPUT.mkdir(exist_ok=True)
    out = OUTPUT / ("scoreboard_quick.csv" if arguments.quick else "scoreboard.csv")
    if arguments.quick:
        out.unlink(missing_ok=True)
    if not arguments.report:
        print(f"bayesmixed of {Path(bm.__file__).parent}", flush=True)
        run(None if arguments.quick else arguments.folder, out, arguments.limit)
    table = write_report(out)
    if arguments.quick:
        assert (table["verdict"] == "fitted").all(), table.to_string()
        assert (table["rows_density"] > table["rows_density_pooled"]).all(), table.to_string()


if __name__ == "__main__":
    main()
