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
import csv
import json
import multiprocessing
import os
import re
import signal
import time
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tables import OUTPUT, show

import bayesmixed as bm
from bayesmixed.errors import FormulaError
from bayesmixed.formula.parse import parse

Row = dict[str, Any]
COLUMNS = ("id", "n", "p", "J", "status", "message", "engine", "reason", "seconds", "max_r_hat", "min_ess_bulk")
COLUMNS += ("n_warnings", "warnings", "column_spaces", "difference", "effect")
COLUMNS += ("sds", "sds_matched", "sds_inside", "sds_zero", "sds_outside", "lmer_seconds", "lmer_warnings", "formula")
OUTCOME = "outcome"  # column of a transformed response
# what R writes otherwise
_IN_R = ((r"\b(as\.)?factor\(", "C("), (r"\^", "**"), (r"\bTRUE\b", "True"), (r"\bFALSE\b", "False"))
_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


# ---- tables and formulas


def read_table(folder: Path, file: str, types: str) -> pd.DataFrame:
    """A table with the types it has in R: factors and text become categories, in R's order.

    Parameters
    ----------
    folder : Path
    file : str
        Name of the table without its suffixes.
    types : str
        Numbers that the model takes for categories, as in ``"year=categorical;dose=ordered"``.
    """
    classes = json.loads((folder / f"{file}.json").read_text())
    texts = [name for name, about in classes.items() if about["class"] in ("factor", "ordered", "character")]
    frame = pd.read_csv(
        folder / f"{file}.csv.gz", dtype=dict.fromkeys(texts, str), keep_default_na=False, na_values=["NA", ""]
    )
    for name in texts:
        levels = classes[name].get("levels") or sorted(frame[name].dropna().unique())
        frame[name] = pd.Categorical(frame[name], categories=[str(level) for level in levels])
    for name in re.findall(r"([^;=]+)=", types):
        if name not in texts:
            frame[name] = pd.Categorical(frame[name])
    return frame


def evaluate(expression: str, frame: pd.DataFrame) -> Any:
    """Values of a left side such as ``log(y)`` or ``I(y/2)``; the columns are known by their number."""
    text, plain = expression.replace("^", "**"), {}
    for at, name in enumerate(sorted(frame.columns, key=len, reverse=True)):
        plain[f"column{at}"] = frame[name]
        text = re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w.(])", f"column{at}", text)
    text = re.sub(r"\bI\(", "(", text)
    text = re.sub(r"\bifelse\(", "@choose(", text)
    values = pd.DataFrame(plain).eval(text, engine="python", local_dict={"choose": np.where})
    return np.asarray(values, dtype=float)


def translate(formula: str, frame: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """A formula of R's in our grammar, and the rows and columns that it uses.

    Returns
    -------
    formula : str
    frame : DataFrame
        The used columns; rows with missing values are left out, as R does. The index says which rows these are.

    Raises
    ------
    FormulaError
        Our grammar cannot express it, or it is no formula of R's.
    """
    left, tilde, right = (part.strip() for part in formula.partition("~"))
    if not tilde:
        raise FormulaError(f"no formula in R's syntax: {formula!r}")
    for theirs, ours in _IN_R:
        right = re.sub(theirs, ours, right)
    for name in frame.columns:
        if not re.fullmatch(r"[A-Za-z]\w*(\.\w+)*", name):
            right = re.sub(rf"(?<![\w.`]){re.escape(name)}(?![\w.`])", f"`{name}`", right)
    response = left if left in frame else OUTCOME
    parsed = parse(f"{response} ~ {right}")
    if response == OUTCOME:
        try:
            frame = frame.assign(outcome=evaluate(left, frame))
        except Exception as error:
            raise FormulaError(f"left side {left!r}: {type(error).__name__}: {error}") from error
    if absent := [name for name in parsed.columns if name not in frame]:
        raise FormulaError(f"columns that are not in the table: {', '.join(absent)}")
    return parsed.text, frame[[response, *parsed.columns]].dropna()


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


def first_words(message: Any, words: int = 12) -> str:
    """The beginning of a message."""
    text = str(message).split()
    return " ".join(text[:words]) + (" ..." if len(text) > words else "")


def fit(model: Row, lmer: Row, folder: Path, draws: int) -> Row:
    """Translate, fit and compare one model."""
    formula, frame = translate(model["formula"], read_table(folder, model["file"], model["types"]))
    est = bm.MixedModelRegressor(formula, draws=draws, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started = time.perf_counter()
        est.fit(frame)
        seconds = time.perf_counter() - started
    found = est.diagnostics_
    row = {
        "status": "fitted",
        "formula": formula,
        "engine": found["sampler"],
        "reason": found["reason"],
        "seconds": seconds,
        "max_r_hat": found["max_r_hat"],
        "min_ess_bulk": found["min_ess_bulk"],
        "n_warnings": len(caught),
        "warnings": " | ".join(dict.fromkeys(first_words(warning.message) for warning in caught)),
    }
    if lmer["status"] != "ok":
        return row
    if len(frame) != lmer["n"]:
        return row | {"column_spaces": f"not compared: {len(frame)} rows, lmer used {lmer['n']}"}
    return row | compare_common(est, frame, lmer) | compare_sds(est, lmer)


def serve(requests: Connection) -> None:
    """Fit what is asked for, in a process of its own; the first fit, which pays for the imports, is nobody's."""
    os.setsid()  # what NUTS starts is ended with it
    first = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0)
    _ = first.fit(bm.datasets.load_sleepstudy()).idata_
    requests.send("ready")
    while True:
        model, *arguments = requests.recv()
        try:
            row = fit(model, *arguments)
        except ValueError as error:  # FormulaError is one
            row = {"status": "refused", "message": str(error)}
        except Exception as error:
            row = {"status": "failed", "message": f"{type(error).__name__}: {error}"}
        requests.send(row)


class Worker:
    """A process that fits models, and is replaced when one takes too long.

    Parameters
    ----------
    limit : float
        Seconds that a model may take.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.process: Any = None

    def ask(self, *request: Any) -> Row:
        """The row of one model."""
        if self.process is None:
            self._start()
        self.pipe.send(request)
        if not self.pipe.poll(self.limit):
            self.stop()
            return {"status": "timeout", "message": f"more than {self.limit:g} s", "seconds": self.limit}
        try:
            return self.pipe.recv()
        except EOFError:
            self.stop()
            return {"status": "failed", "message": "the process ended"}

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,))
        self.process.start()
        theirs.close()
        self.pipe.recv()

    def stop(self) -> None:
        """End the process and those it has started."""
        if self.process is not None:
            if self.process.is_alive():
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.join()
            self.process = None


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
    worker = Worker(limit)
    try:
        for model in wanted.to_dict("records"):
            lmer = fits[model["id"]]
            row = {"id": model["id"], "formula": model["formula"], **of_lmer(lmer)}
            row |= worker.ask(model, lmer, folder, draws)
            print(model["id"], row["status"], row.get("engine", first_words(row.get("message"))), flush=True)
            append(row, out)
    finally:
        worker.stop()


def append(row: Row, out: Path) -> None:
    """Add a row to the file."""
    is_new = not out.exists()
    with out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow(row)


# ---- summary


def quantiles(values: pd.Series) -> pd.DataFrame:
    """Quantiles of a column as a table of one line."""
    values = values.dropna()
    named = {f"{100 * q:g} %": values.quantile(q) for q in _QUANTILES}
    return pd.DataFrame([{"models": len(values), **named}])


def summarise(table: pd.DataFrame) -> None:
    """Print what the rows say together."""
    fitted = table[table["status"] == "fitted"]
    print("\nmodels:", ", ".join(f"{count} {status}" for status, count in table["status"].value_counts().items()))
    print("engines:", ", ".join(f"{count} {engine}" for engine, count in fitted["engine"].value_counts().items()))
    print(f"largest R-hat {fitted['max_r_hat'].max():.3f}, smallest bulk ESS {fitted['min_ess_bulk'].min():.0f}")
    print(f"{(fitted['n_warnings'] > 0).sum()} models with warnings")
    print("\nseconds of fit")
    show(quantiles(fitted["seconds"]))
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
    for status in ("refused", "timeout", "failed"):
        for row in table[table["status"] == status].itertuples():
            print(f"\n{status}: {row.id}: {row.message}", end="")
    print()


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
