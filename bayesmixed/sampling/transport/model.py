"""A model and its rows in the sampler's units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayesmixed.design.spec import Design
from bayesmixed.gaussian.covariance import Covariances
from bayesmixed.gaussian.units import Units
from bayesmixed.posterior.posterior import Model
from bayesmixed.priors.priors import Priors
from bayesmixed.sampling.transport.coordinates import Parameters
from bayesmixed.sampling.transport.working.rows import Rows, identical_rows


@dataclass(frozen=True)
class Prepared:
    """What is sampled.

    Attributes
    ----------
    units : Units
    rows : Rows
    parameters : Parameters
    common_mean : numpy.ndarray of shape (p,)
    common_root : numpy.ndarray of shape (p, p)
        Mean and root of the covariance of gamma's prior, in `units`: gamma = mean + root u, where u ~ N(0, I) are the
        common effects of the rows.
    """

    STORED: ClassVar[tuple[str, ...]] = ("units", "rows", "parameters", "common_mean", "common_root")

    units: Units
    rows: Rows
    parameters: Parameters
    common_mean: np.ndarray
    common_root: np.ndarray

    @classmethod
    def of(cls, model: Model, design: Design) -> Prepared:
        """Measure the design, and convert its rows to working units."""
        family, priors = model.family, model.priors
        units = Units.learn(design, priors, family)
        covariances = Covariances.of(design, priors, units)
        floors = family.floors(units.scaling.y_scale)
        auxiliary = {name: priors.auxiliary[name] for name in family.auxiliary}
        mean, root = common_prior(design, priors, units)
        rows = Rows.of(design, family, units, mean, root).put_together(*identical_rows(design, family))
        return cls(units, rows, Parameters(covariances, auxiliary, floors), mean, root)

    def rows_of(self, design: Design) -> Rows:
        """Rows of a design in the same units, with identical ones kept separate."""
        return Rows.of(design, self.rows.family, self.units, self.common_mean, self.common_root)


def common_prior(design: Design, priors: Priors, units: Units) -> tuple[np.ndarray, np.ndarray]:
    """Mean, (p,), and root of the covariance, (p, p), of gamma's normal prior: see `Units.stated_prior`."""
    rows = units.stated_prior(design, priors)
    root = np.linalg.inv(rows[:, :-1])
    return root @ rows[:, -1], root
