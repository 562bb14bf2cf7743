"""Convergence of a fit: the worst of all parameters, and one warning for everything that is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayesmixed.design.summed.summed import Measured
from bayesmixed.errors import ConvergenceWarning, quoted, warn
from bayesmixed.posterior.diagnostics import convergence, largest_r_hat, min_ess, suspects
from bayesmixed.posterior.draws import Draws
from bayesmixed.sampling.engine import Engine, Settings


def summarise(draws: Draws) -> dict[str, Any]:
    """Divergences, worst R-hat and effective sample sizes over all parameters that have a chain, and which these are.

    What is drawn exactly given the others has no chain: it agrees where theirs do. In a variable with very many
    parameters, only those found by `suspects` are diagnosed.
    """
    worst: dict[str, Any] = {"max_r_hat": -np.inf, "min_ess_bulk": np.inf, "min_ess_tail": np.inf}
    undefined = []  # variables with an entry that is constant or not finite, or with too few draws
    some = {name: values.reshape(*draws.shape, -1)[:, :, suspects(values)] for name, values in draws.diagnosed()}
    every = convergence(np.concatenate(list(some.values()), axis=2))
    ends = np.cumsum([values.shape[2] for values in some.values()])[:-1]
    by_variable = (np.split(numbers, ends) for numbers in (every.r_hat, every.ess_bulk, every.ess_tail))
    for name, r_hat, bulk, tail in zip(some, *by_variable, strict=True):
        if not np.isfinite(r_hat).all():
            undefined.append(name)
        for key, numbers, sign in (("max_r_hat", r_hat, 1), ("min_ess_bulk", bulk, -1), ("min_ess_tail", tail, -1)):
            found = sign * np.max(sign * numbers[np.isfinite(numbers)], initial=-np.inf)
            if sign * found > sign * worst[key]:
                worst |= {key: float(found), f"{key}_of": name}
    return {"divergences": int(draws.sample_stats["diverging"].sum()), **worst, "undefined": undefined}


def shortcomings(summary: dict[str, Any], draws: Draws) -> list[str]:
    """Say what is wrong with draws whose chains should agree; shared by warnings, gates and `condition`.

    Parameters
    ----------
    summary : dict
        Of `summarise`.
    draws : Draws
    """
    found = []
    limit = largest_r_hat(draws.shape, sum(values[0, 0].size for _, values in draws.diagnosed()))
    if summary["max_r_hat"] > limit:
        found.append(
            f"R-hat of {summary['max_r_hat_of']!r} is {summary['max_r_hat']:.4f} (should be below {limit:.4g})"
        )
    ess, least = min(summary["min_ess_bulk"], summary["min_ess_tail"]), min_ess(draws.shape)
    if ess < least:
        of = summary["min_ess_bulk_of" if ess == summary["min_ess_bulk"] else "min_ess_tail_of"]
        found.append(f"the effective sample size of {of!r} is {ess:.0f} (should be above {least:.0f})")
    if summary["undefined"]:
        found.append(f"R-hat of {quoted(summary['undefined'])} is undefined (draws are constant, NaN or too few)")
    return found


def warn_of_draws(summary: dict[str, Any], design: Measured, result: Draws, engine: Engine, settings: Settings) -> None:
    """Warn once of everything that is wrong, with usual causes and remedies.

    Parameters
    ----------
    summary : dict
        Of `summarise`.
    design : Design or Summed
    result : Draws
    engine : Engine
        The one that made them: it knows the causes.
    settings : Settings
    """
    chains, draws = result.shape
    seen = shortcomings(summary, result)
    mixes, diverged = not seen, bool(summary["divergences"])
    if diverged:
        seen.insert(0, f"{summary['divergences']} of {draws * chains} draws diverged")
    if seen:
        causes, remedies = engine.advice(design, settings, diverged, mixes)
        warn(
            f"{'; '.join(seen)}. Usual causes: {'; '.join(causes)}. Remedies: {'; '.join(remedies)}.",
            ConvergenceWarning,
        )
