"""Draw from the posterior: the choice of the sampler, one function for all."""

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

ENGINES: tuple[Engine, ...] = (collapsed, gibbs, transport, nuts)  # `_order` says in which order "auto" asks them
MAX_ROWS = 1_000_000  # above which "auto" does not take the last one
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
        Its `diagnostics` say which sampler and why.

    Raises
    ------
    SamplerError
        An engine that was named refuses the model, or gives up; or NUTS is all that is left, for millions of rows.

    Warns
    -----
    UserWarning
        ``sampler="auto"``, and the fit runs NUTS; says why.
    ConvergenceWarning
        When the draws are not trustworthy yet, with causes and remedies.
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

    Large crossed designs go to the Gibbs sampler first, and to the dense one where it gives up.
    """
    others: list[Engine] = [engine for engine in ENGINES if engine.takes(model.family) and engine is not gibbs]
    return [gibbs, *others] if gibbs.takes(model.family) and is_large_crossed(design.working(model.family)) else others


def _reported(result: Draws, design: Measured, engine: Engine, settings: Settings) -> Draws:
    """Draws with their summary, which an engine whose gates have asked for it has left; what it says against them."""
    if "max_r_hat" not in result.diagnostics:
        result.diagnostics.update(summarise(result))
    warn_of_draws(result.diagnostics, design, result, engine, settings)
    return result


def _fall_back(engine: Engine, design: Measured, refusal: str) -> None:
    """Warn that the last engine is used, or refuse to wait for it."""
    name = engine.NAME
    if isinstance(design, Summed):
        raise SamplerError(f"{name.upper()} is all that is left, and needs the rows, not sums over them: {refusal}.")
    if design.n_rows > MAX_ROWS:
        raise SamplerError(
            f"{name.upper()} would take too long for {design.n_rows:,} rows, and is all that is left: {refusal}. Fit a "
            f'part of the rows, or a model without what stands in the way, or wait for it with sampler="{name}".'
        )
    warn(f"{name.upper()} is used, slower by far: {refusal}.")


def update(draws: Draws, spec: DesignSpec, design: Design, *, seed: int, progressbar: bool) -> Draws:
    """Draws from the posterior of old and new rows, where the engine of the old left a state behind.

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
        There is no state, or the model of all rows is not one for the engine.

    Warns
    -----
    ConvergenceWarning
        As in `sample`.
    """
    name = draws.diagnostics["sampler"]
    if draws.state is None:
        reason = draws.diagnostics["reason"]
        why = f"collapsed, gibbs and transport samplers, but this fit is of {name.upper()} ({reason})"
    else:
        try:
            result = draws.state.update(draws, spec, design, seed=seed, progressbar=progressbar)
        except (SamplerError, np.linalg.LinAlgError) as error:
            why = f"{name} sampler, which cannot take in all rows: {error}"
        else:
            engine = next(engine for engine in ENGINES if name == engine.NAME)
            chains, n_draws = result.shape
            return _reported(result, design, engine, Settings(name, n_draws, chains, seed, progressbar))
    raise SamplerError(
        f"condition works with the {why}. Fit old and new rows together, with priors=est.priors_ for the same model."
    )
