"""The transport sampler: the order of its steps, and the models that it refuses.

1. Distinct rows in working units (`rows`), and the mode of the posterior (`start`).
2. Chains around it, which adapt the reference, the coordinates and the step in three rounds (`adaptation`).
3. Trajectories with all of these frozen; if the chains do not agree, or have too few effective draws, they run on and
   are thinned (`run`).
4. Effects and parameters on the user's scale (`assembly`).

Its modules are loaded only for models that it samples, which are never Gaussian.
"""

from __future__ import annotations

from bayesmixed.design.spec import Design
from bayesmixed.design.summed.summed import Measured, Summed
from bayesmixed.errors import quoted
from bayesmixed.families.base import Family
from bayesmixed.posterior.draws import Draws
from bayesmixed.posterior.posterior import Model
from bayesmixed.sampling.clock import Clock
from bayesmixed.sampling.engine import NEEDS_ROWS, Settings, rows_of
from bayesmixed.sampling.shared import n_covariance_parameters, not_normal
from bayesmixed.sampling.transport.constants import MAX_COORDINATES, MAX_SHARED

NAME = "transport"


def takes(family: Family) -> bool:
    """Whether the family is one of those that do not collapse."""
    return not family.collapses


def refuses(model: Model, design: Measured, settings: Settings) -> str:
    """Why transport cannot sample the model; empty if it can."""
    if found := not_normal(model.priors):
        return f"common effects need Normal priors for the transport sampler; found {found}"
    dimension = n_covariance_parameters(design) + len(model.family.auxiliary)
    if dimension > MAX_COORDINATES:
        return (
            f"the model has {dimension} standard deviations, correlations and auxiliary parameters, more than "
            f"{MAX_COORDINATES}"
        )
    return NEEDS_ROWS if isinstance(design, Summed) else _too_wide(design)


def _too_wide(design: Design) -> str:
    """Which effects are too many to be integrated out together; empty if none are."""
    from bayesmixed.sampling.transport.working.layout import Layout  # noqa: PLC0415
    from bayesmixed.sampling.transport.working.products import products_needed  # noqa: PLC0415

    layout = Layout.of_design(design)
    if layout.n_shared > MAX_SHARED:
        crossed = [design.groups[f].name for f in layout.factors[layout.nested :]]
        of = f"the crossed factors {quoted(crossed)} and the common part have" if crossed else "the common part has"
        return f"{of} {layout.n_shared} effects, more than {MAX_SHARED}"
    return products_needed(layout, tuple(design.groups[f].codes for f in layout.factors))


def sample(model: Model, design: Measured, settings: Settings) -> Draws:
    """Draw from the posterior of a model whose response is not normal; see `Engine.sample`."""
    from bayesmixed.sampling.transport.model import Prepared  # noqa: PLC0415
    from bayesmixed.sampling.transport.state import sample_prepared  # noqa: PLC0415

    clock, design = Clock(), rows_of(design)
    prepared = Prepared.of(model, design)
    clock.lap("rows")
    return sample_prepared(prepared, design, settings, clock)


def advice(design: Measured, settings: Settings, diverged: bool, mixes: bool) -> tuple[list[str], list[str]]:
    """Usual causes and remedies; see `Engine.advice`."""
    causes, remedies = ["few levels or few rows of a grouping factor"], ["state a tighter prior for sd_<factor>"]
    return (causes, remedies) if mixes else ([*causes, "chains too short"], [*remedies, "raise draws"])
