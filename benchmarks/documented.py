"""Models that other people documented: their tables and formulas in our grammar, and fits in another process.

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

import bayesmixed as bm
from bayesmixed.errors import FormulaError, SamplerError
from bayesmixed.formula.parse import parse

Row = dict[str, Any]
FITTED = ("status", "message", "engine", "reason", "seconds", "cpu_seconds", "max_r_hat", "min_ess_bulk")
FITTED += ("n_warnings", "warnings", "of_convergence", "formula")  # what `timed_fit` and `Worker` say
# what R writes otherwise
_IN_R = ((r"\b(as\.)?factor\(", "C("), (r"\^", "**"), (r"\bTRUE\b", "True"), (r"\bFALSE\b", "False"))
# by the type of a response: a binary one is binomial with one trial in each row
_FAMILIES = {"continuous": "gaussian", "binary": "binomial", "binomial": "binomial", "count": "poisson"}
_FAMILIES |= {"ordinal": "cumulative"}
_DOCUMENTED = {"Gamma(log)": {"family": "gamma"}, "Beta": {"family": "beta"}}
_DOCUMENTED |= {"cumulative(probit)": {"family": "cumulative", "link": "probit"}}
_ELSEWHERE = {"cox": "a survival model", "acat": "an adjacent-category model"}
OUTCOME, SUCCESSES, TRIALS, CLASSES = "outcome", "successes", "number_of_trials", "ordered_classes"


class NotOfferedError(ValueError):
    """A model of a kind that none of our families is."""


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


def family_of(model: Row) -> dict[str, Any]:
    """Family, and link where it is not the usual one.

    Raises
    ------
    NotOfferedError
        None of ours is the documented one.
    """
    if model["family"] in _ELSEWHERE:
        raise NotOfferedError(f"documented with family {model['family']!r}: {_ELSEWHERE[model['family']]}")
    if model["response_type"] not in _FAMILIES:
        raise NotOfferedError("unordered classes")
    return _DOCUMENTED.get(model["family"], {"family": _FAMILIES[model["response_type"]]})


def translate_model(model: Row, frame: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """A documented model in our grammar, and the rows and columns that it uses; see `translate`."""
    left, right = sides(model["formula"])
    kind = model["response_type"]
    if kind == "continuous" and left in frame:
        return translate(left, right, frame)
    if kind == "continuous":
        return translate(OUTCOME, right, frame.assign(**{OUTCOME: evaluate_left(left, frame)}))
    if kind == "ordinal":
        if left not in frame:
            raise FormulaError(f"no column {left!r} in the table")
        ordered = pd.Categorical(frame[left], ordered=True)
        return translate(CLASSES, right, frame.assign(**{CLASSES: ordered.remove_unused_categories()}))
    if kind == "count":
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
        "of_convergence": any(issubclass(warning.category, bm.ConvergenceWarning) for warning in caught),
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
        except NotOfferedError as error:
            row = {"status": "not ours", "message": str(error)}
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
