"""A model and its rows, brought to the sampler's units."""

from __future__ import annotations

from dataclasses import dataclass

from bayesmixed.design.spec import Design
from bayesmixed.gaussian.covariance import Covariances
from bayesmixed.gaussian.units import Units
from bayesmixed.posterior.posterior import Model
from bayesmixed.sampling.transport.coordinates import Parameters
from bayesmixed.sampling.transport.rows import Rows


@dataclass(frozen=True)
class Prepared:
    """What is sampled.

    Attributes
    ----------
    units : Units
    rows : Rows
    parameters : Parameters
    """

    units: Units
    rows: Rows
    parameters: Parameters

    @classmethod
    def of(cls, model: Model, design: Design) -> Prepared:
        """Measure the design, and bring its rows to working units."""
        family, priors = model.family, model.priors
        units = Units.learn(design, priors, family)
        covariances = Covariances.of(design, priors, units)
        floors = family.floors(units.scaling.y_scale)
        auxiliary = {name: priors.auxiliary[name] for name in family.auxiliary}
        return cls(units, Rows.of(design, family, priors, units), Parameters(covariances, auxiliary, floors))
