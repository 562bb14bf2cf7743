"""NUTS on the joint model: PyMC's own, nutpie when it is installed, numpyro and blackjax by name."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
from joblib.parallel import cpu_count, get_active_backend

from bayesmixed._compat import dataset, run_nuts
from bayesmixed.design import Design
from bayesmixed.diagnostics import convergence
from bayesmixed.draws import Draws, layout
from bayesmixed.errors import ConvergenceWarning, quoted
from bayesmixed.families import Family
from bayesmixed.priors import Priors
from bayesmixed.pymc_model import build_model

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
R_HAT_LIMIT = 1.01  # Vehtari et al. (2021), section 4


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
        Processes; None: as many as chains and processors allow, 1 inside a joblib worker or a daemon.
    backend : {"pymc", "nutpie", "numpyro", "blackjax"} or None
        None: nutpie when installed, else pymc.
    seed : int
    progressbar : bool

    Returns
    -------
    Draws

    Warns
    -----
    ConvergenceWarning
        With causes and remedies, when chains diverged, disagree or mix slowly.

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
    summary = _summarise(values, int(sample_stats["diverging"].sum()))
    diagnostics = {
        "sampler": "nuts",
        "backend": backend,
        **summary,
        "acceptance": float(np.mean(sample_stats["acceptance_rate"])),
        "seconds": {
            "build": built - started,
            "sample": sampled - built,
            "diagnose": time.perf_counter() - sampled,
        },
    }
    _warn(summary, design, draws, chains, target_accept)
    return Draws(values, sample_stats, diagnostics)


def _resolve_backend(backend: str | None) -> str:
    if backend is None:
        return "nutpie" if is_installed("nutpie") else "pymc"
    if not is_installed(backend):
        raise ImportError(
            f"nuts_backend={backend!r} needs the package {backend}: pip install {backend}, or leave nuts_backend=None."
        )
    return backend


def _summarise(values: dict[str, np.ndarray], divergences: int) -> dict[str, Any]:
    """Worst R-hat and effective sample sizes over all parameters, and where they are."""
    worst: dict[str, Any] = {"max_r_hat": -np.inf, "min_ess_bulk": np.inf, "min_ess_tail": np.inf}
    undefined = []  # variables with an entry that is constant or not finite, or with too few draws
    for name, draws in values.items():
        result = convergence(draws)
        if not np.isfinite(result.r_hat).all():
            undefined.append(name)
        for key, numbers, sign in (
            ("max_r_hat", result.r_hat, 1),
            ("min_ess_bulk", result.ess_bulk, -1),
            ("min_ess_tail", result.ess_tail, -1),
        ):
            found = sign * np.max(sign * numbers[np.isfinite(numbers)], initial=-np.inf)
            if sign * found > sign * worst[key]:
                worst |= {key: float(found), f"{key}_of": name}
    return {"divergences": divergences, **worst, "undefined": undefined}


def _warn(summary: dict[str, Any], design: Design, draws: int, chains: int, target_accept: float) -> None:
    """One warning for all that is wrong: what was seen, usual causes, remedies."""
    ess_limit = min(400, draws * chains / 4)
    ess = min(summary["min_ess_bulk"], summary["min_ess_tail"])
    seen, causes, remedies = [], [], []
    if summary["divergences"]:
        seen.append(f"{summary['divergences']} of {draws * chains} draws diverged")
        causes.append("a group standard deviation near zero")
        few = [factor.name for factor in design.groups if len(factor.levels) < 6]
        causes += [f"few levels in {name!r}" for name in few]
        remedies.append(f"raise target_accept (now {target_accept})")
        remedies.append("state a tighter prior for sd_<factor>")
    if summary["max_r_hat"] > R_HAT_LIMIT:
        seen.append(
            f"R-hat of {summary['max_r_hat_of']!r} is {summary['max_r_hat']:.3f} (should be below {R_HAT_LIMIT})"
        )
    if ess < ess_limit:
        of = summary["min_ess_bulk_of" if ess == summary["min_ess_bulk"] else "min_ess_tail_of"]
        seen.append(f"the effective sample size of {of!r} is {ess:.0f} (should be above {ess_limit:.0f})")
    if summary["undefined"]:
        seen.append(f"R-hat of {quoted(summary['undefined'])} is undefined (draws that are constant, NaN or too few)")
    if len(seen) > bool(summary["divergences"]):
        causes.append("chains too short, many rows per group, or a slope column far from zero")
        remedies.append("raise tune and draws, centre the columns of the slopes")
    if seen:
        warnings.warn(
            f"{'; '.join(seen)}. Usual causes: {'; '.join(causes)}. Remedies: {'; '.join(remedies)}.",
            ConvergenceWarning,
            stacklevel=5,
        )


def resolve_cores(cores: int | None, chains: int) -> int:
    """Processes for `chains` chains: 1 inside a joblib worker or a daemon, where more would fail or crowd.

    Parameters
    ----------
    cores : int or None
        The user's wish; None leaves it to us.
    chains : int
    """
    nested = get_active_backend()[0].nesting_level or 0
    if multiprocessing.current_process().daemon or nested > 0:
        return 1
    return min(chains, cores or cpu_count())


def is_installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return find_spec(package) is not None
