"""What every Python adapter does in its process: the stages of one run, timed one by one.

An adapter is a script, ``python run_x.py problem.csv spec.json result.json``, in the interpreter of its library. It
needs NumPy and pandas beside that library, and not bayesmixed. Stages, each recorded as soon as it is over, so that
a run that is stopped keeps what it has:

1. read the file, or make the rows (a fit of `chunks` makes them itself), fit: ``fit`` is the fit alone, ``inside``
   counts from after the imports, ``usable_at`` is the clock then (the runner subtracts the clock at the start of the
   process); `result.json` appears at this moment;
2. ask for ArviZ's container, where that is work of its own (bayesmixed): ``container``, ``container_at``; memory at
   its highest so far is ``peak_fit_mb`` after the fit, ``peak_container_mb`` now;
3. estimates; all draws into ``result.npy`` (chain, draw, parameter), for the runner
   to compute convergence with one and the same code for all; not timed;
4. the mean of 1 row and of 1,000 rows: median seconds of a few calls after a first one;
5. fit again in this process: ``refit``, ``recontainer``;
6. ten folds by group, a fit and a prediction each. No further fold starts after ``spec.fold_seconds``: ``folds``
   says how many there were, ``cv`` is their mean seconds times ten.

Beside the seconds of fits those of processors, of all threads and processes together: ``cpu_fresh``, ``cpu_fit`` and
``cpu_refit``, and with the container ``cpu_fresh_container`` and so on.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

CHUNK = 1_000_000  # rows
MAX_LEVELS = 3000  # of a factor whose effects are put into result.npy, evenly spread


@dataclass(frozen=True)
class Group:
    """One bar of the formula: the effects of one grouping factor, named as in bayesmixed (``batch:cask``)."""

    name: str
    columns: list[str]
    effects: list[str]  # "Intercept" or columns
    sds: list[float]  # scales of the half-normal priors, of the effects of Z @ sweep
    sds_at_zero: list[float]  # the same for a library whose priors are those of independent effects at 0
    sweep: list[list[float]]
    correlated: bool

    def labels(self, frame: pd.DataFrame) -> pd.Series:
        """Level of each row; those of a nested factor are its columns' labels side by side."""
        if len(self.columns) == 1:
            return frame[self.columns[0]]
        return frame[self.columns].astype(str).agg(":".join, axis=1)

    def kept(self, n_levels: int) -> np.ndarray:
        """Levels, by position, whose draws are examined."""
        return np.unique(np.linspace(0, n_levels - 1, min(n_levels, MAX_LEVELS)).astype(int))

    def z(self, frame: pd.DataFrame) -> np.ndarray:
        """Columns that the effects multiply, (n, q)."""
        one = np.ones(len(frame))
        return np.column_stack([one if name == "Intercept" else frame[name] for name in self.effects])


@dataclass(frozen=True)
class Spec:
    """A problem in numbers and names; the priors are the defaults of bayesmixed."""

    variant: str
    formula: str
    response: str
    common: list[str]
    groups: list[Group]
    intercept: dict[str, float]  # mu, sigma of the Normal prior of the intercept at `centre`
    centre: dict[str, float]
    common_sds: dict[str, float]
    lkj_eta: float
    sigma: dict[str, float] | None  # nu, sigma of the half-t prior; None of a family without one
    draws: int
    tune: int
    chains: int
    cores: int
    seed: int
    folds: list[int] | None
    fold_seconds: float
    refit: bool
    family: str = "gaussian"
    trials: str | None = None  # column of their number
    nu: dict[str, float] | None = None  # alpha, beta of the Gamma prior, of Student's t
    made: list[int] | None = None  # rows and groups that are made in chunks, in place of a file

    @classmethod
    def read(cls, path: str) -> Spec:
        """From JSON."""
        values = json.loads(Path(path).read_text())
        return cls(**values | {"groups": [Group(**group) for group in values["groups"]]})


def chunks(rows: int, groups: int, seed: int = 0) -> Iterator[pd.DataFrame]:
    """Rows with intercept and slope in groups, `CHUNK` of them at a time, the same at every pass."""
    b = np.random.default_rng(seed).normal(size=(groups, 2)) * [1.0, 0.5]
    for number in range(rows // CHUNK):
        rng = np.random.default_rng([seed, number])
        g, x = rng.integers(0, groups, CHUNK, dtype=np.int32), rng.normal(size=CHUNK)
        y = 1 + 0.5 * x + b[g, 0] + b[g, 1] * x + 2 * rng.normal(size=CHUNK)
        yield pd.DataFrame({"x": x, "g": g, "y": y})


class Library:
    """What an adapter says of its library; subclasses override what theirs can do."""

    takes_chunks = False  # whether `fit` takes a callable of frames in place of one

    packages: tuple[str, ...] = ()
    note = ""  # how its model differs from ours; of ours, the sampler. Read after the fit

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def fit(self, frame: pd.DataFrame) -> Any:
        """From a frame to a posterior, or to estimates; what is returned goes to the other methods as `model`."""
        raise NotImplementedError

    def container(self, model: Any) -> None:
        """Ask for ArviZ's container, if the fit did not make it."""

    def predict(self, model: Any, rows: pd.DataFrame) -> np.ndarray:
        """Mean of rows; the effects of levels that were not fitted are zero, or average to it."""
        raise NotImplementedError

    def draws(self, model: Any) -> dict[str, np.ndarray]:
        """Draws by parameter, (chain, draw, ...); none of a library that only estimates.

        Names are those of the tables: Intercept, labels of common effects, ``sd_<factor>[<effect>]``,
        ``corr_<factor>``, ``sigma``, and ``b_<factor>`` for group effects.
        """
        return {}

    def estimates(self, model: Any) -> dict[str, float]:
        """Point estimates by name, of a library without draws."""
        return {}


class Record:
    """Results so far, kept on disk: replaced as a whole, never half written."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.values: dict[str, Any] = {}

    def add(self, **values: Any) -> None:
        """Keep further results."""
        self.values |= values
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.values))
        temporary.replace(self.path)


def run(make: Callable[[Spec], Library]) -> None:
    """Go through the stages with the files named on the command line."""
    imported = time.perf_counter()
    data, spec_path, result_path = sys.argv[1:]
    spec, record = Spec.read(spec_path), Record(result_path)
    library = make(spec)
    frame, source = (pd.read_csv(data),) * 2 if spec.made is None else made(spec.made, library)
    read = time.perf_counter()
    cpu = processor_seconds()
    model = library.fit(source)
    usable_at, fitted, used = time.time(), time.perf_counter(), processor_seconds()
    record.add(usable_at=usable_at, inside=fitted - imported, read=read - imported, fit=fitted - read)
    record.add(cpu_fresh=used, cpu_fit=used - cpu)
    record.add(peak_fit_mb=peak_mb())
    seconds = timed(lambda: library.container(model))
    record.add(container_at=time.time(), container=seconds, peak_container_mb=peak_mb())
    record.add(cpu_fresh_container=processor_seconds(), cpu_fit_container=processor_seconds() - cpu)
    record.add(note=library.note, versions={name: version(name) for name in library.packages})
    record.add(**keep_draws(library, model, Path(result_path).with_suffix(".npy")))
    for n in (1, 1000):
        rows = frame.sample(n, replace=True, random_state=0).reset_index(drop=True)
        record.add(**{f"predict_{n}": latency(lambda rows=rows: library.predict(model, rows))})
    if spec.refit:
        started, cpu = time.perf_counter(), processor_seconds()
        model = library.fit(source)
        record.add(refit=time.perf_counter() - started, cpu_refit=processor_seconds() - cpu)
        record.add(recontainer=timed(lambda: library.container(model)), cpu_refit_container=processor_seconds() - cpu)
    if spec.folds is not None:
        record.add(**cross_validate(library, frame, np.array(spec.folds)))


def made(sizes: list[int], library: Library) -> tuple[pd.DataFrame, Any]:
    """Rows to predict, and what is fitted: chunks where the library takes them, else all rows in one frame."""
    first = next(chunks(*sizes))
    if library.takes_chunks:
        return first, lambda: chunks(*sizes)
    return first, pd.concat(chunks(*sizes), ignore_index=True)


def timed(task: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def processor_seconds() -> float:
    """Of this process, all of its threads, and of those that it has started and seen end."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def latency(task: Callable[[], Any]) -> float:
    """Median seconds of up to seven calls, the first not counted; fewer if they are slow."""
    first = timed(task)
    return statistics.median(timed(task) for _ in range(7 if first < 0.5 else 2))


def peak_mb() -> float:
    """Most memory that this process, or the largest of its children that have ended, has held."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(each).ru_maxrss for each in who) / 1024


def keep_draws(library: Library, model: Any, path: Path) -> dict[str, Any]:
    """Save the draws as one array, group effects last.

    Returns
    -------
    dict
        ``estimates``, mean and standard deviation of all parameters but group effects; ``population``, how many of the
        array's columns these are.
    """
    draws = library.draws(model)
    if not draws:
        return {"estimates": {name: [float(value)] for name, value in library.estimates(model).items()}}
    of_groups = [name for name in draws if name.startswith("b_")]
    population = {name: values for name, values in draws.items() if name not in of_groups}
    flat = [values.reshape(*values.shape[:2], -1) for values in [*population.values(), *map(draws.get, of_groups)]]
    np.save(path, np.concatenate(flat, axis=2))
    estimates = {name: [float(x.mean()), float(x.std())] for name, x in population.items()}
    return {"estimates": estimates, "population": sum(x.shape[2] for x in flat[: len(population)])}


def cross_validate(library: Library, frame: pd.DataFrame, folds: np.ndarray) -> dict[str, float]:
    """Leave out ten sets of groups in turn; seconds, folds that were run, root mean squared error."""
    started, errors = time.perf_counter(), []
    for fold in range(10):
        train, test = frame[folds != fold], frame[folds == fold]
        model = library.fit(train.reset_index(drop=True))
        test = test.reset_index(drop=True)
        errors.append(test[library.spec.response].to_numpy() - library.predict(model, test))
        if time.perf_counter() - started > library.spec.fold_seconds:
            break
    seconds = time.perf_counter() - started
    rmse = float(np.sqrt(np.mean(np.square(np.concatenate(errors)))))
    return {"cv": seconds * 10 / len(errors), "folds": len(errors), "rmse": rmse}
