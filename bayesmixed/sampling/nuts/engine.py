"""NUTS on the joint model: PyMC's own, nutpie when it is installed, numpyro and blackjax by name."""

from __future__ import annotations

import multiprocessing
import sys
import time
from importlib.util import find_spec

import numpy as np
from joblib.parallel import cpu_count, get_active_backend

from bayesmixed._compat import dataset, run_nuts
from bayesmixed.design.spec import Design
from bayesmixed.families.base import Family
from bayesmixed.posterior.draws import Draws, layout
from bayesmixed.priors.priors import Priors
from bayesmixed.sampling.nuts.pymc_model import build_model

BACKENDS = ("pymc", "nutpie", "numpyro", "blackjax")
# ArviZ's names of the sampler's statistics, and nutpie's for the same
_STATS = {
    "lp": ("lp", "logp"),
    "acceptance_rate": ("acceptance_rate", "mean_tree_accept"),
    "diverging": ("diverging",),
    "energy": ("energy",),
    "tree_depth": ("tree_depth", "depth"),
    "n_steps": ("n_steps",),
    "step_size": ("step_size",),
}


def sample(
    design: Design,
    family: Family,
    priors: Priors,
    *,
    draws: int,
    chains: int,
    tune: int,
    target_accept: float,
    cores: int | None,
    backend: str | None,
    seed: int,
    progressbar: bool,
) -> Draws:
    """Draw from the posterior by the No-U-Turn Sampler.

    Parameters
    ----------
    design : Design
    family : Family
    priors : Priors
    draws, chains, tune : int
        Kept draws per chain, number of chains, warm-up draws per chain.
    target_accept : float
    cores : int or None
        Processes; None: as many as chains and processors allow. 1 inside a worker of joblib or Dask, or a daemon.
    backend : {"pymc", "nutpie", "numpyro", "blackjax"} or None
        None: nutpie when installed, else pymc.
    seed : int
    progressbar : bool

    Returns
    -------
    Draws

    References
    ----------
    Hoffman & Gelman (2014), The No-U-Turn Sampler, Journal of Machine Learning Research 15, 1593-1623.
    """
    backend = _resolve_backend(backend)
    started = time.perf_counter()
    model = build_model(design, family, priors)
    built = time.perf_counter()
    trace = run_nuts(
        model,
        backend=backend,
        target_accept=target_accept,
        draws=draws,
        tune=tune,
        chains=chains,
        cores=resolve_cores(cores, chains),
        random_seed=seed,
        progressbar=progressbar,
    )
    sampled = time.perf_counter()
    posterior, stats = dataset(trace, "posterior"), dataset(trace, "sample_stats")
    values = {name: np.array(posterior[name].values, dtype=np.float64) for name in layout(design, family.auxiliary)}
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


def _resolve_backend(backend: str | None) -> str:
    if backend is None:
        return "nutpie" if is_installed("nutpie") else "pymc"
    if not is_installed(backend):
        raise ImportError(
            f"nuts_backend={backend!r} needs the package {backend}: pip install {backend}, or leave nuts_backend=None."
        )
    return backend


def resolve_cores(cores: int | None, chains: int) -> int:
    """Processes for `chains` chains: 1 inside a worker of joblib or Dask or a daemon, where more would fail or crowd.

    Parameters
    ----------
    cores : int or None
        The user's wish; None leaves it to us.
    chains : int
    """
    nested = get_active_backend()[0].nesting_level or 0
    if multiprocessing.current_process().daemon or nested > 0 or _in_dask_task():
        return 1
    return min(chains, cores or cpu_count())


def _in_dask_task() -> bool:
    """Whether Dask is running us: its workers may be threads of an ordinary process."""
    dask = sys.modules.get("distributed")  # where it is not loaded, no worker is
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
