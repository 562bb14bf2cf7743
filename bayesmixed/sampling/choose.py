"""Draw from the posterior: choose a sampler, one function for all of them."""

from __future__ import annotations

import numpy as np

from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.design.summed.summed import Measured, Summed
from bayesmixed.errors import SamplerError, warn
from bayesmixed.posterior.draws import Draws
from bayesmixed.posterior.posterior import Model
from bayesmixed.sampling.collapsed import engine as collapsed
from bayesmixed.sampling.engine import Engine, Settings
from bayesmixed.sampling.gibbs import engine as gibbs
from bayesmixed.sampling.gibbs.limits import is_large_crossed
from bayesmixed.sampling.nuts import engine as nuts
from bayesmixed.sampling.report import summarise, warn_of_draws
from bayesmixed.sampling.transport import engine as transport

ENGINES: tuple[Engine, ...] = (collapsed, gibbs, transport, nuts)  # `_order` has the order in which "auto" tries them
MAX_ROWS = 1_000_000  # above which "auto" does not use the last one
SAMPLERS = ("auto", *(engine.NAME for engine in ENGINES))


def sample(model: Model, design: Measured, settings: Settings) -> Draws:
    """Draw from the posterior.

    Parameters
    ----------
    model : Model
    design : Design or Summed
        With a response.
    settings : Settings

    Returns
    -------
    Draws
        Their `diagnostics` say which sampler was used and why.

    Raises
    ------
    SamplerError
        The requested engine refuses the model, or gives up; or only NUTS is left, for millions of rows.

    Warns
    -----
    UserWarning
        The fit falls back to NUTS under ``sampler="auto"``; the message says why.
    ConvergenceWarning
        The draws cannot be trusted yet; the message lists causes and remedies.
    """
    if settings.sampler == "auto":
        candidates = _order(model, design)
    else:
        candidates = [engine for engine in ENGINES if settings.sampler == engine.NAME]
    refusal = ""
    for engine in candidates:
        if refusal and engine is ENGINES[-1]:
            _fall_back(engine, design, refusal)
        if not engine.takes(model.family):
            reason = f"the {engine.NAME} sampler does not take family {model.family.name!r}"
        else:
            reason = engine.refuses(model, design, settings)
        if not reason:
            try:
                result = engine.sample(model, design, settings)
            except SamplerError as error:
                reason = str(error)
            else:
                result.diagnostics["reason"] = refusal or f"sampler={settings.sampler!r}"
                return _reported(result, design, engine, settings)
        refusal = reason
    name = candidates[-1].NAME
    others = '"auto"' if isinstance(design, Summed) or name == ENGINES[-1].NAME else '"auto" or "nuts"'
    raise SamplerError(f'sampler="{name}" cannot sample this posterior: {refusal}. Use sampler={others}.')


def _order(model: Model, design: Measured) -> list[Engine]:
    """The engines for the family in the order in which "auto" tries them.

    Large crossed designs go to the Gibbs sampler first, and to the dense one if it gives up.
    """
    others: list[Engine] = [engine for engine in ENGINES if engine.takes(model.family) and engine is not gibbs]
    return [gibbs, *others] if gibbs.takes(model.family) and is_large_crossed(design.working(model.family)) else others


def _reported(result: Draws, design: Measured, engine: Engine, settings: Settings) -> Draws:
    """Add the summary to draws, unless the engine's gates have already done so, and warn of what is wrong."""
    if "max_r_hat" not in result.diagnostics:
        result.diagnostics.update(summarise(result))
    warn_of_draws(result.diagnostics, design, result, engine, settings)
    return result


def _fall_back(engine: Engine, design: Measured, refusal: str) -> None:
    """Warn that the last engine is used, or raise an error if it would take too long."""
    name = engine.NAME
    if isinstance(design, Summed):
        raise SamplerError(f"Only {name.upper()} is left, but it needs the rows, not sums over them: {refusal}.")
    if design.n_rows > MAX_ROWS:
        raise SamplerError(
            f"Only {name.upper()} is left, which would take too long for {design.n_rows:,} rows: {refusal}. Fit some "
            f'of the rows, or a model without this obstacle, or accept the wait with sampler="{name}".'
        )
    warn(f"Falling back to {name.upper()}, which is much slower: {refusal}.")


def update(draws: Draws, spec: DesignSpec, design: Design, *, seed: int, progressbar: bool) -> Draws:
    """Draw from the posterior of old and new rows, if the engine that fitted the old ones left a state behind.

    Parameters
    ----------
    draws : Draws
    spec : DesignSpec
        With the levels of old and new rows.
    design : Design
        The new rows.
    seed : int
        Of the fit.
    progressbar : bool

    Raises
    ------
    SamplerError
        There is no state, or the engine cannot take the model of all rows.

    Warns
    -----
    ConvergenceWarning
        As in `sample`.
    """
    name = draws.diagnostics["sampler"]
    if draws.state is None:
        reason = draws.diagnostics["reason"]
        why = f"collapsed, gibbs and transport samplers, but this fit used {name.upper()} ({reason})"
    else:
        try:
            result = draws.state.update(draws, spec, design, seed=seed, progressbar=progressbar)
        except (SamplerError, np.linalg.LinAlgError) as error:
            why = f"{name} sampler, which cannot take all rows: {error}"
        else:
            engine = next(engine for engine in ENGINES if name == engine.NAME)
            chains, n_draws = result.shape
            return _reported(result, design, engine, Settings(name, n_draws, chains, seed, progressbar))
    raise SamplerError(
        f"condition works with the {why}. Fit old and new rows together, with priors=est.priors_ for the same model."
    )
