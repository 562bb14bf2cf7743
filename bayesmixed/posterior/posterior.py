"""A model and its posterior: passed around whole, not as many separate arguments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bayesmixed.design.spec import DesignSpec
from bayesmixed.families.base import Family
from bayesmixed.posterior.draws import Draws, sampled
from bayesmixed.posterior.parts import Parts
from bayesmixed.priors.priors import Priors


@dataclass(frozen=True)
class Model:
    """What is fitted, without data.

    Attributes
    ----------
    spec : DesignSpec
        What was learned about the columns.
    family : Family
    priors : Priors
    """

    spec: DesignSpec
    family: Family
    priors: Priors


@dataclass(frozen=True)
class Posterior:
    """All that predictions and tables need.

    Attributes
    ----------
    model : Model
    draws : Draws
    seed : int
        The fit's seed: part of the key of every random number.
    """

    model: Model
    draws: Draws
    seed: int

    def parts(self, n_parts: int, noise: float) -> Parts:
        """The draws partitioned by covariances and noise (`Parts.alike`); computed only once."""
        if (n_parts, noise) not in self._parted:
            parts = Parts.alike(self.draws, self.spec, self.family.auxiliary, n_parts, noise)
            self._parted[n_parts, noise] = parts
        return self._parted[n_parts, noise]

    @cached_property
    def parameters(self) -> dict[str, np.ndarray]:
        """Intercept and auxiliary parameters of every draw, each (S,), as the family's methods expect them."""
        return sampled(self.draws, self.family, self.spec.has_intercept)

    @cached_property
    def _parted(self) -> dict[tuple[int, float], Parts]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Cached values are left out: they are recomputed from the fields when needed."""
        return {"model": self.model, "draws": self.draws, "seed": self.seed}

    @property
    def spec(self) -> DesignSpec:
        """The model's."""
        return self.model.spec

    @property
    def family(self) -> Family:
        """The model's."""
        return self.model.family
