"""Convergence of a fit: the worst of all parameters, and one warning for all that is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayesmixed.design.spec import Design
from bayesmixed.errors import ConvergenceWarning, quoted, warn
from bayesmixed.posterior.diagnostics import convergence, least_ess
from bayesmixed.posterior.draws import Draws
from bayesmixed.sampling.engine import Engine, Settings

R_HAT_LIMIT = 1.01  # Vehtari et al. (2021), section 4


def summarise(draws: Draws) -> dict[str, Any]:
    """Divergences, worst R-hat and effective sample sizes over all stored parameters, and where they are."""
    worst: dict[str, Any] = {"max_r_hat": -np.inf, "min_ess_bulk": np.inf, "min_ess_tail": np.inf}
    undefined = []  # variables with an entry that is constant or not finite, or with too few draws
    for name, values in draws.values.items():
        result = convergence(values)
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
    return {"divergences": int(draws.sample_stats["diverging"].sum()), **worst, "undefined": undefined}


def warn_of_draws(summary: dict[str, Any], design: Design, result: Draws, engine: Engine, settings: Settings) -> None:
    """Warn once of all that was seen, with usual causes and remedies.

    Parameters
    ----------
    summary : dict
        Of `summarise`.
    design : Design
    result : Draws
    engine : Engine
        That made them: it knows the causes.
    settings : Settings
    """
    chains, draws = result.shape
    ess_limit = least_ess(result.shape)
    ess = min(summary["min_ess_bulk"], summary["min_ess_tail"])
    seen = []
    if summary["max_r_hat"] > R_HAT_LIMIT:
        seen.append(
            f"R-hat of {summary['max_r_hat_of']!r} is {summary['max_r_hat']:.3f} (should be below {R_HAT_LIMIT})"
        )
    if ess < ess_limit:
        of = summary["min_ess_bulk_of" if ess == summary["min_ess_bulk"] else "min_ess_tail_of"]
        seen.append(f"the effective sample size of {of!r} is {ess:.0f} (should be above {ess_limit:.0f})")
    if summary["undefined"]:
        seen.append(f"R-hat of {quoted(summary['undefined'])} is undefined (draws that are constant, NaN or too few)")
    mixes, diverged = not seen, bool(summary["divergences"])
    if diverged:
        seen.insert(0, f"{summary['divergences']} of {draws * chains} draws diverged")
    if seen:
        causes, remedies = engine.advice(design, settings, diverged, mixes)
        warn(
            f"{'; '.join(seen)}. Usual causes: {'; '.join(causes)}. Remedies: {'; '.join(remedies)}.",
            ConvergenceWarning,
        )
