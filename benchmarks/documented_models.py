"""Fit models that other people documented, and compare the fits with lme4's.

    python benchmarks/documented_models.py FOLDER --out documented.csv

FOLDER holds tables, formulas in R's syntax and lme4's fits (`lmer.jsonl`) of the public registry MixedBench; its README
says what is in each file. They are not part of this project.

Each continuous model is translated to our grammar and fitted in another process, whose imports and first fit are not
timed. Common effects are compared in lme4's coding and in lme4's standard errors, and lme4's standard deviations with
our central 95 % intervals. A row per model is written as soon as it is there; those that ``--out`` holds are not fitted
again.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path

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
from tables import OUTPUT, show

import bayesmixed as bm

COLUMNS = ("id", "n", "p", "J", *FITTED, "column_spaces", "difference", "effect")
COLUMNS += ("sds", "sds_matched", "sds_inside", "sds_zero", "sds_outside", "lmer_seconds", "lmer_warnings")
OUTCOME = "outcome"  # column of a transformed response


# ---- formulas


def translate_model(formula: str, frame: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """A formula of R's in our grammar, and the rows and columns that it uses; see `translate`."""
    left, right = sides(formula)
    if left in frame:
        return translate(left, right, frame)
    return translate(OUTCOME, right, frame.assign(**{OUTCOME: evaluate_left(left, frame)}))


# ---- comparison with lme4


def rank(X: np.ndarray) -> int:
    """Rank of columns, whatever their units."""
    size = np.linalg.norm(X, axis=0)
    return int(np.linalg.matrix_rank(X[:, size > 0] / size[size > 0], tol=1e-7))


def compare_common(est: bm.MixedModelRegressor, frame: pd.DataFrame, lmer: Row) -> Row:
    """Common effects: the largest difference of the posterior mean from lme4's estimate, in its standard errors.

    The codings may differ. So the common part of our linear predictor, on the rows of which lme4's design is known, is
    written in the columns of lme4's design, which is unique where both designs span the same space.
    """
    theirs = np.array(lmer["X"], dtype=float)
    rows = frame.loc[[row - 1 for row in lmer["rows"]]]
    design = est.design_spec_.apply(rows)
    ours = np.column_stack([np.ones((len(rows), int(design.has_intercept))), design.X])
    beta = np.append([est.intercept_] if design.has_intercept else [], est.coef_)
    ranks = rank(theirs), rank(ours), rank(np.hstack([theirs, ours]))
    if len(set(ranks)) > 1 or ranks[0] < theirs.shape[1]:
        return {"column_spaces": f"differ: ranks {ranks[0]} (lmer), {ranks[1]} (ours), {ranks[2]} (both)"}
    size = np.linalg.norm(theirs, axis=0)
    coded = np.linalg.lstsq(theirs / size, ours @ beta)[0] / size
    apart = (coded - np.array(list(lmer["fixef"].values()))) / np.array(lmer["se"])
    at = int(np.abs(apart).argmax())
    columns = "same" if design.X.shape[1] + design.has_intercept == ranks[0] else "same, ours not of full rank"
    return {"column_spaces": columns, "difference": abs(apart[at]), "effect": list(lmer["fixef"])[at]}


def our_sds(est: bm.MixedModelRegressor) -> dict[frozenset[str], dict[str, np.ndarray]]:
    """Draws of the standard deviations, by the columns of the factor, and effect."""
    posterior, found = est.idata_["posterior"], {}
    for spec in est.design_spec_.groups:
        sds = posterior[f"sd_{spec.name}"]
        draws = np.moveaxis(sds.to_numpy(), 2, 0).reshape(sds.shape[2], -1)
        effects = [str(effect) for effect in sds[sds.dims[2]].to_numpy()]
        found[frozenset(spec.name.split(":"))] = dict(zip(effects, draws, strict=True))
    return found | {frozenset(["Residual"]): {"": posterior["sigma"].to_numpy().ravel()}}


def matched_sds(est: bm.MixedModelRegressor, lmer: Row) -> Iterator[tuple[str, float, np.ndarray]]:
    """Each of lme4's standard deviations that has its like: its name, its value, our draws.

    The slopes of a factor match in order, and its intercepts, where there are as many slopes: else they are those of
    another coding, on which the intercept depends.
    """
    ours = our_sds(est)
    theirs: dict[frozenset[str], dict[str, float]] = {}
    for name, effect, value in lmer["sds"]:  # the second bar of 'g' is called 'g.1'
        factor = name if name in lmer["groups"] else re.sub(r"\.\d+$", "", name)
        theirs.setdefault(frozenset(factor.split(":")), {})[effect] = value
    for factor, sds in theirs.items():
        draws = dict(ours.get(factor, {}))
        intercepts = [draws.pop("Intercept")] if "Intercept" in draws else []
        if len(intercepts) != ("(Intercept)" in sds) or len(intercepts) + len(draws) != len(sds):
            continue
        effects = sorted(sds, key=lambda effect: effect != "(Intercept)")
        for effect, mine in zip(effects, [*intercepts, *draws.values()], strict=True):
            yield f"{':'.join(sorted(factor))} {effect}".strip(), sds[effect], mine


def compare_sds(est: bm.MixedModelRegressor, lmer: Row) -> Row:
    """Standard deviations: how many of lme4's are inside our central 95 % intervals, which never hold a 0."""
    matched = list(matched_sds(est, lmer))
    outside = []
    for name, value, draws in matched:
        low, high = np.quantile(draws, [0.025, 0.975])
        if not low <= value <= high:
            outside.append(f"{name}: {value:.4g} not in [{low:.4g}, {high:.4g}]")
    return {
        "sds": len(lmer["sds"]),
        "sds_matched": len(matched),
        "sds_inside": len(matched) - len(outside),
        "sds_zero": sum(draws.mean() > 1e4 * value for _, value, draws in matched),
        "sds_outside": "; ".join(outside),
    }


# ---- fits


def fit(model: Row, lmer: Row, folder: Path, draws: int) -> Row:
    """Translate, fit and compare one model."""
    formula, frame = translate_model(model["formula"], read_table(folder, model["file"], model["types"]))
    est = bm.MixedModelRegressor(formula, draws=draws, random_state=0)
    row = timed_fit(est, frame)
    if lmer["status"] != "ok":
        return row
    if len(frame) != lmer["n"]:
        return row | {"column_spaces": f"not compared: {len(frame)} rows, lmer used {lmer['n']}"}
    return row | compare_common(est, frame, lmer) | compare_sds(est, lmer)


def first_fit() -> None:
    """The one that pays for the imports."""
    first = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0)
    _ = first.fit(bm.datasets.load_sleepstudy()).idata_


def of_lmer(lmer: Row) -> Row:
    """What a row says of the model as lme4 has it."""
    sizes = lmer.get("groups") or {}
    return {
        "n": lmer.get("n"),
        "p": lmer.get("p"),
        "J": min(sizes.values(), default=None),
        "lmer_seconds": lmer.get("seconds"),
        "lmer_warnings": len(lmer["warnings"]),
    }


def run(folder: Path, ids: str, out: Path, limit: float, draws: int) -> None:
    """Fit the models that `out` does not hold, and add a row for each."""
    models = pd.read_csv(folder / "models.csv", keep_default_na=False)
    fits = {lmer["id"]: lmer for lmer in map(json.loads, (folder / "lmer.jsonl").open())}
    done = set(pd.read_csv(out)["id"]) if out.exists() else set()
    is_wanted = models["id"].str.contains(ids) & ~models["id"].isin(done)
    wanted = models[is_wanted & (models["response_type"] == "continuous")]
    worker = Worker(first_fit, fit, limit)
    try:
        for model in wanted.to_dict("records"):
            lmer = fits[model["id"]]
            row = {"id": model["id"], "formula": model["formula"], **of_lmer(lmer)}
            row |= worker.ask(model, lmer, folder, draws)
            print(model["id"], row["status"], row.get("engine", first_words(row.get("message"))), flush=True)
            append(row, COLUMNS, out)
    finally:
        worker.stop()


# ---- summary


def summarise(table: pd.DataFrame) -> None:
    """Print what the rows say together."""
    fitted = summarise_fits(table)
    large = fitted[(fitted["n"] >= 100) & (fitted["J"] >= 10)]
    print("\nlargest difference of a common effect from lmer's, in lmer's standard errors: all; n >= 100 and J >= 10")
    show(pd.concat([quantiles(fitted["difference"]), quantiles(large["difference"])]))
    spaces = fitted["column_spaces"].str.partition(":")[0].value_counts()
    print("column spaces:", ", ".join(f"{count} {kind}" for kind, count in spaces.items()))
    for name, some in (("all", fitted), ("n >= 100 and J >= 10", large)):
        count = {key: int(some[f"sds_{key}"].sum()) for key in ("matched", "inside", "zero")}
        print(f"\nlmer's sds inside our central 95 % intervals, {name}:", end=" ")
        print(f"{count['inside']} of {count['matched']} matched (of {some['sds'].sum():.0f});", end=" ")
        print(f"{count['zero']} of lmer's are 0 and in none", end="")
    print("\n\nworst by difference")
    worst = fitted.sort_values("difference", ascending=False).head(10)
    show(worst[["id", "n", "p", "J", "engine", "difference", "effect", "column_spaces"]])
    tell_of_others(table)


def main() -> None:
    """Fit, then sum up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ids", default="", help="only models whose id has a match of this regular expression")
    parser.add_argument("--out", type=Path, default=OUTPUT / "documented_models.csv")
    parser.add_argument("--limit", type=float, default=120, help="seconds that a model may take")
    parser.add_argument("--draws", type=int, default=1000, help="kept draws of each chain")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    print(f"bayesmixed of {Path(bm.__file__).parent}", flush=True)
    run(arguments.folder, arguments.ids, arguments.out, arguments.limit, arguments.draws)
    table = pd.read_csv(arguments.out)
    summarise(table[table["id"].str.contains(arguments.ids)])


if __name__ == "__main__":
    main()
