"""NUTS on the joint model: PyMC's own, nutpie if it is installed, or numpyro and blackjax on request."""

from __future__ import annotations

import multiprocessing
import sys
import time
from importlib.util import find_spec

import numpy as np
from joblib.parallel import cpu_count, get_active_backend

from bayesmixed._compat import dataset, run_nuts
from bayesmixed.design.summed.summed import Measured, Summed
from bayesmixed.families.base import Family
from bayesmixed.posterior.draws import Draws, layout
from bayesmixed.posterior.posterior import Model
from bayesmixed.sampling.engine import NEEDS_ROWS, Settings, rows_of
from bayesmixed.sampling.nuts.pymc_model import build_model

BACKENDS = ("pymc", "nutpie", "numpyro", "blackjax")
# ArviZ's names for the sampler's statistics, and nutpie's
_STATS = {
    "lp": ("lp", "logp"),
    "acceptance_rate": ("acceptance_rate", "mean_tree_accept"),
    "diverging": ("diverging",),
    "energy": ("energy",),
    "tree_depth": ("tree_depth", "depth"),
    "n_steps": ("n_steps",),
    "step_size": ("step_size",),
}


NAME = "nuts"


def takes(family: Family) -> bool:
    """All."""
    return True


def refuses(model: Model, design: Measured, settings: Settings) -> str:
    """Refuse sums in place of rows; every model has its PyMC model."""
    return NEEDS_ROWS if isinstance(design, Summed) else ""


def sample(model: Model, design: Measured, settings: Settings) -> Draws:
    """Draw from the posterior by the No-U-Turn Sampler; see `Engine.sample`.

    References
    ----------
    Hoffman & Gelman (2014), The No-U-Turn Sampler, Journal of Machine Learning Research 15, 1593-1623.
    """
    backend = _resolve_backend(settings.backend)
    started = time.perf_counter()
    built_model = build_model(model, rows_of(design))
    built = time.perf_counter()
    trace = run_nuts(
        built_model,
        backend=backend,
        target_accept=settings.target_accept,
        draws=settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        cores=resolve_cores(settings.cores, settings.chains),
        random_seed=settings.seed,
        progressbar=settings.progressbar,
    )
    sampled = time.perf_counter()
    posterior, stats = dataset(trace, "posterior"), dataset(trace, "sample_stats")
    values = {name: np.array(posterior[name].values, dtype=np.float64) for name in layout(design, model.family)}
    sample_stats = {
        name: np.array(stats[theirs].values) for name, names in _STATS.items() for theirs in names if theirs in stats
    }
    diagnostics = {
        "sampler": "nuts",
        "backend": backend,
        "acceptance": float(np.mean(sample_stats["acceptance_rate"])),
        "seconds": {
            "build": built - started,
            "sample": sampled - built,
        },
    }
    return Draws(values, sample_stats, diagnostics)


def advice(design: Measured, settings: Settings, diverged: bool, mixes: bool) -> tuple[list[str], list[str]]:
    """Usual causes and remedies; see `Engine.advice`."""
    causes, remedies = [], []
    if diverged:
        causes.append("a group standard deviation near zero")
        few = [factor.name for factor in design.groups if len(factor.levels) < 6]
        causes += [f"few levels in {name!r}" for name in few]
        remedies.append(f"raise target_accept (now {settings.target_accept})")
        remedies.append("state a tighter prior for sd_<factor>")
    if not mixes:
        causes.append("chains too short, or many rows per group")
        remedies.append("raise tune and draws")
    return causes, remedies


def _resolve_backend(backend: str | None) -> str:
    if backend is None:
        return "nutpie" if is_installed("nutpie") else "pymc"
    if not is_installed(backend):
        raise ImportError(
            f"nuts_backend={backend!r} needs the package {backend}: pip install {backend}, or leave nuts_backend=None."
        )
    return backend


def resolve_cores(cores: int | None, chains: int) -> int:
    """Processes for `chains` chains: 1 inside a worker of joblib or Dask or a daemon, where more would fail or compete.

    Parameters
    ----------
    cores : int or None
        The user's choice; None leaves it to this function.
    chains : int
    """
    nested = get_active_backend()[0].nesting_level or 0
    if multiprocessing.current_process().daemon or nested > 0 or _in_dask_task():
        return 1
    return min(chains, cores or cpu_count())


def _in_dask_task() -> bool:
    """Whether this runs in a Dask task: its workers may be threads of an ordinary process."""
    dask = sys.modules.get("distributed")  # no worker is running if it is not loaded
    if dask is None:
        return False
    try:
        dask.get_worker()
    except ValueError:
        return False
    return True


def is_installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return find_spec(package) is not None
