"""Draw from the posterior: the choice of the sampler, one function for all."""

from __future__ import annotations

import numpy as np

from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.errors import SamplerError, warn
from bayesmixed.families.base import Family
from bayesmixed.posterior.draws import Draws
from bayesmixed.priors.priors import Priors
from bayesmixed.sampling.collapsed import engine as collapsed
from bayesmixed.sampling.nuts import engine as nuts
from bayesmixed.sampling.report import summarise, warn_of_draws

SAMPLERS = ("auto", "collapsed", "nuts")


def sample(
    design: Design,
    family: Family,
    priors: Priors,
    *,
    sampler: str,
    draws: int,
    chains: int,
    tune: int,
    target_accept: float,
    cores: int | None,
    backend: str | None,
    seed: int,
    progressbar: bool,
) -> Draws:
    """Draw from the posterior.

    Parameters
    ----------
    design : Design
    family : Family
    priors : Priors
    sampler : {"auto", "collapsed", "nuts"}
        "auto" is "collapsed" where the model collapses and the chains can be trusted, else "nuts".
    draws, chains : int
        Kept draws per chain, number of chains.
    tune, target_accept, cores, backend
        Of `nuts.sample`.
    seed : int
    progressbar : bool

    Returns
    -------
    Draws
        Its `diagnostics` say which sampler and why.

    Raises
    ------
    SamplerError
        ``sampler="collapsed"``, and the model is not one for it.

    Warns
    -----
    UserWarning
        ``sampler="auto"``, and the fit runs NUTS; says why.
    ConvergenceWarning
        When the draws are not trustworthy yet, with causes and remedies.
    """
    reason = f"sampler={sampler!r}"
    result = None
    if sampler != "nuts":
        try:
            result = collapsed.sample(
                design, family, priors, draws=draws, chains=chains, seed=seed, progressbar=progressbar
            )
        except SamplerError as error:
            if sampler == "collapsed":
                raise SamplerError(
                    f'sampler="collapsed" cannot sample this posterior: {error}. Use sampler="auto" or "nuts".'
                ) from None
            reason = str(error)
            warn(f"NUTS is used, slower by far: {reason}.")
    if result is None:
        result = nuts.sample(
            design,
            family,
            priors,
            draws=draws,
            chains=chains,
            tune=tune,
            target_accept=target_accept,
            cores=cores,
            backend=backend,
            seed=seed,
            progressbar=progressbar,
        )
    summary = summarise(result)
    warn_of_draws(summary, design, result, target_accept if result.diagnostics["sampler"] == "nuts" else None)
    result.diagnostics.update({"reason": reason, **summary})
    return result


def update(draws: Draws, spec: DesignSpec, design: Design, *, seed: int, progressbar: bool) -> Draws:
    """Draws from the posterior of old and new rows, where the collapsed sampler made those of the old.

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
        The draws are not the collapsed sampler's, or the model of all rows is not one for it.

    Warns
    -----
    ConvergenceWarning
        As in `sample`.
    """
    if draws.state is None:
        why = f"but this fit is of NUTS ({draws.diagnostics['reason']})"
    else:
        try:
            result = draws.state.update(draws, spec, design, seed=seed, progressbar=progressbar)
        except (SamplerError, np.linalg.LinAlgError) as error:
            why = f"which cannot take in all rows: {error}"
        else:
            summary = summarise(result)
            warn_of_draws(summary, design, result, None)
            result.diagnostics.update(summary)
            return result
    raise SamplerError(
        f"condition works with the collapsed sampler, {why}. Fit old and new rows together, with priors=est.priors_ "
        "for the same model."
    )
