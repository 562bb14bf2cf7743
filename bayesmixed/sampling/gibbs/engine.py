"""The Gibbs sampler: the order of its steps, and the models it does not support.

1. One pass over the rows (`statistics`); factors of few levels join the common columns (`model`), the others are large.
2. Chains start around a ridge fit, walk, and make a t proposal for every large factor's covariance (`warmup`).
3. The warm-up measures how fast the effects of large factors move (`joint.redraw.rate`); if they move slowly, each
   sweep draws them once more, together with their sds. A factor that is nested in another is drawn with it
   (`joint.nest`).
4. Sweeps with frozen proposals (`sweep`, `chains`, `proposal`); if the chains do not agree or have too few effective
   draws, the proposals are fitted to them, and a longer run takes their place (`run`).

No matrix of all columns is ever formed, so there is no limit on their number.

Its other modules are imported in `sample`, so that asking whether it takes a model stays cheap.
"""

from __future__ import annotations

from bayesmixed.design.summed.summed import Measured
from bayesmixed.errors import SamplerError
from bayesmixed.families.base import Family
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.statistics import working_products
from bayesmixed.gaussian.units import Units
from bayesmixed.posterior.draws import Draws
from bayesmixed.posterior.posterior import Model
from bayesmixed.sampling.clock import Clock
from bayesmixed.sampling.engine import Settings
from bayesmixed.sampling.gibbs.limits import prior_in_the_way, too_large

NAME = "gibbs"


def takes(family: Family) -> bool:
    """Whether the sampler supports a family: those that collapse."""
    return family.collapses


def refuses(model: Model, design: Measured, settings: Settings) -> str:
    """Why the sampler does not support the model; empty if it does."""
    if not design.groups:
        return "there are no group effects to draw"
    return prior_in_the_way(model.priors) or too_large(design, settings.draws * settings.chains)


def sample(model: Model, design: Measured, settings: Settings) -> Draws:
    """Draw from the posterior of a Gaussian model; see `Engine.sample`."""
    from bayesmixed.sampling.gibbs.joint.redraw import Cells  # noqa: PLC0415
    from bayesmixed.sampling.gibbs.state import sample_density  # noqa: PLC0415

    clock = Clock()
    design, priors = design.working(model.family), model.priors
    units = Units.learn(design, priors)
    statistics = working_products(design, units)
    clock.lap("statistics")
    if reason := too_large(design, settings.draws * settings.chains, statistics):
        raise SamplerError(reason)
    return sample_density(
        design,
        CollapsedDensity.of(design, priors, units, statistics),
        lambda: Cells.of(design, units),
        draws=settings.draws,
        chains=settings.chains,
        seed=settings.seed,
        progressbar=settings.progressbar,
        clock=clock,
    )


def advice(design: Measured, settings: Settings, diverged: bool, mixes: bool) -> tuple[list[str], list[str]]:
    """See `Engine.advice`; nothing can diverge here."""
    causes, remedies = ["crossed factors that are nearly nested", "chains too short"], ["raise draws"]
    return ([], []) if mixes else (causes, remedies)
