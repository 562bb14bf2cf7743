"""What `documented_models.py` and `documented_glmms.py` share: tables, formulas, and fits in another process.

Tables and formulas are those of the public registry MixedBench, in R's types and R's syntax.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import re
import signal
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tables import show

import bayesmixed as bm
from bayesmixed.errors import FormulaError, SamplerError
from bayesmixed.formula.parse import parse

Row = dict[str, Any]
FITTED = ("status", "message", "engine", "reason", "seconds", "cpu_seconds", "max_r_hat", "min_ess_bulk")
FITTED += ("n_warnings", "warnings", "formula")  # what `timed_fit` and `Worker` say
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


def evaluate_left(left: str, frame: pd.DataFrame) -> np.ndarray:
    """`evaluate`, and an error that says which left side it is."""
    try:
        return evaluate(left, frame)
    except Exception as error:
        raise FormulaError(f"left side {left!r}: {type(error).__name__}: {error}") from error


def sides(formula: str) -> tuple[str, str]:
    """Left and right side of a formula of R's."""
    left, tilde, right = (part.strip() for part in formula.partition("~"))
    if not tilde:
        raise FormulaError(f"no formula in R's syntax: {formula!r}")
    return left, right


def translate(left: str, right: str, frame: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """A formula in our grammar, and the rows and columns that it uses.

    Parameters
    ----------
    left : str
        In our grammar.
    right : str
        In R's.
    frame : DataFrame

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
    for theirs, ours in _IN_R:
        right = re.sub(theirs, ours, right)
    for name in frame.columns:
        if not re.fullmatch(r"[A-Za-z]\w*(\.\w+)*", name):
            right = re.sub(rf"(?<![\w.`]){re.escape(name)}(?![\w.`])", f"`{name}`", right)
    parsed = parse(f"{left} ~ {right}")
    if absent := [name for name in parsed.columns if name not in frame]:
        raise FormulaError(f"columns that are not in the table: {', '.join(absent)}")
    return parsed.text, frame[[*parsed.left, *parsed.columns]].dropna()


# ---- fits


def first_words(message: Any, words: int = 12) -> str:
    """The beginning of a message."""
    text = str(message).split()
    return " ".join(text[:words]) + (" ..." if len(text) > words else "")


def timed_fit(est: bm.MixedModelRegressor, frame: pd.DataFrame) -> Row:
    """Fit; what a row says of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started, cpu = time.perf_counter(), time.process_time()
        est.fit(frame)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    found = est.diagnostics_
    return {
        "status": "fitted",
        "formula": est.formula,
        "engine": found["sampler"],
        "reason": found["reason"],
        "seconds": seconds,
        "cpu_seconds": cpu,  # of this process: not of workers that NUTS starts
        "max_r_hat": found["max_r_hat"],
        "min_ess_bulk": found["min_ess_bulk"],
        "n_warnings": len(caught),
        "warnings": " | ".join(dict.fromkeys(first_words(warning.message) for warning in caught)),
    }


def serve(requests: Connection, warm: Callable[[], Any], fit: Callable[..., Row]) -> None:
    """Fit what is asked for, in a process of its own; the first fit, which pays for the imports, is nobody's."""
    os.setsid()  # what NUTS starts is ended with it
    warm()
    requests.send("ready")
    while True:
        arguments = requests.recv()
        started = time.perf_counter()
        try:
            row = fit(*arguments)
        except SamplerError as error:
            row = {"status": "given up", "message": str(error), "seconds": time.perf_counter() - started}
        except ValueError as error:  # FormulaError is one
            row = {"status": "refused", "message": str(error)}
        except Exception as error:
            row = {"status": "failed", "message": f"{type(error).__name__}: {error}"}
        requests.send(row)


class Worker:
    """A process that fits models, and is replaced when one takes too long.

    Parameters
    ----------
    warm, fit : callable
        Of a module's top level. The first is called once in each process, without arguments; the second returns the
        row of what is asked for.
    limit : float
        Seconds that a model may take.
    """

    def __init__(self, warm: Callable[[], Any], fit: Callable[..., Row], limit: float) -> None:
        self.warm, self.fit, self.limit = warm, fit, limit
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
        self.process = context.Process(target=serve, args=(theirs, self.warm, self.fit))
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


def append(row: Row, columns: tuple[str, ...], out: Path) -> None:
    """Add a row to the file."""
    is_new = not out.exists()
    with out.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if is_new:
            writer.writeheader()
        writer.writerow(row)


# ---- summary


def quantiles(values: pd.Series) -> pd.DataFrame:
    """Quantiles of a column as a table of one line."""
    values = values.dropna()
    named = {f"{100 * q:g} %": values.quantile(q) for q in _QUANTILES}
    return pd.DataFrame([{"models": len(values), **named}])


def summarise_fits(table: pd.DataFrame) -> pd.DataFrame:
    """Print what became of the models; those that were fitted."""
    fitted = table[table["status"] == "fitted"]
    print("\nmodels:", ", ".join(f"{count} {status}" for status, count in table["status"].value_counts().items()))
    print("engines:", ", ".join(f"{count} {engine}" for engine, count in fitted["engine"].value_counts().items()))
    print(f"largest R-hat {fitted['max_r_hat'].max():.3f}, smallest bulk ESS {fitted['min_ess_bulk'].min():.0f}")
    print(f"{(fitted['n_warnings'] > 0).sum()} models with warnings")
    print("\nseconds of fit")
    show(quantiles(fitted["seconds"]))
    return fitted


def tell_of_others(table: pd.DataFrame) -> None:
    """Print the models that were not fitted, and why."""
    for row in table[table["status"] != "fitted"].itertuples():
        print(f"\n{row.status}: {row.id}: {row.message}", end="")
    print()
