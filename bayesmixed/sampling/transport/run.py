"""The final run: trajectories of adapted chains, until they agree and have enough effective draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.errors import SamplerError
from bayesmixed.posterior.diagnostics import MIN_DRAWS
from bayesmixed.posterior.draws import Draws
from bayesmixed.sampling.report import shortcomings, summarise
from bayesmixed.sampling.transport.adaptation import Adapted
from bayesmixed.sampling.transport.assembly import Kept, assemble
from bayesmixed.sampling.transport.constants import MAX_DIVERGENT, MIN_ACCEPTANCE, MIN_STEP, THINNING
from bayesmixed.sampling.transport.model import Prepared
from bayesmixed.sampling.transport.trajectory import trajectory


def run(
    prepared: Prepared,
    design: Design | DesignSpec,
    adapted: Adapted,
    *,
    draws: int,
    chains: int,
    rng: np.random.Generator,
    advance: Callable[[int], None],
) -> tuple[Draws, Kept]:
    """Run, and continue while the gates ask for more.

    Parameters
    ----------
    prepared : Prepared
    design : Design or DesignSpec
        For the names.
    adapted : Adapted
    draws, chains : int
        Those that are kept; all chains that adapted run, and the gates of the trajectories judge all of them.
    rng : numpy.random.Generator
    advance : callable
        Called with the number of evaluations after every trajectory.

    Raises
    ------
    SamplerError
        The draws cannot be trusted; the message says why.
    """
    kept, state, spent = Kept(), adapted.state, 0
    judged = draws >= MIN_DRAWS  # fewer say nothing, as the fit's warning tells
    if adapted.step < MIN_STEP:
        raise SamplerError(f"trajectories need steps of {adapted.step:.3f}, less than {MIN_STEP}")
    for thin in THINNING:
        if kept.w:
            kept.halve()
        while len(kept.w) < draws:
            acceptance, divergent = np.zeros(len(state.residual)), np.zeros(len(state.residual), dtype=int)
            for _ in range(thin):
                move = trajectory(adapted.target, state, adapted.step, rng)
                state = move.state
                acceptance += move.acceptance / thin
                divergent += move.divergent
                spent += move.gradients
                advance(move.gradients * len(state.residual))
            kept.w.append(state.w.copy())  # it may be a view of what was evaluated, and would keep all of it in memory
            kept.x.append(state.points.x)
            kept.log_density.append(state.log_density)
            kept.acceptance.append(acceptance)
            kept.divergent.append(divergent)
        if judged and (trouble := _trouble(kept, thin)):
            raise SamplerError(trouble)
        result = assemble(prepared, design, kept, chains, _diagnostics(adapted, kept, thin, spent))
        summary = summarise(result)
        result.diagnostics.update(summary)
        trouble = "; ".join(shortcomings(summary, result))
        if not (judged and trouble):
            return result, kept
    raise SamplerError(f"after {thin} times as many trajectories {trouble}")


def _trouble(kept: Kept, thin: int) -> str:
    """What is wrong with the trajectories, whatever the draws say; empty if nothing is."""
    acceptance = float(np.mean(kept.acceptance))
    if acceptance < MIN_ACCEPTANCE:
        return f"acceptance is {acceptance:.2f} (at least {MIN_ACCEPTANCE})"
    divergent = float(np.mean(kept.divergent)) / thin
    if divergent > MAX_DIVERGENT:
        return f"{divergent:.1%} of the trajectories diverged (at most {MAX_DIVERGENT:.0%})"
    return ""


def _diagnostics(adapted: Adapted, kept: Kept, thin: int, spent: int) -> dict[str, Any]:
    return {
        "sampler": "transport",
        "acceptance": float(np.mean(kept.acceptance)),
        "step_size": adapted.step,
        "gradients_per_draw": spent / len(kept.w),
        "adaptation_gradients": adapted.gradients,
        "thinning": thin,
    }
