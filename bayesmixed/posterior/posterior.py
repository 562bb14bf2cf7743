"""A model, and its posterior: passed whole, instead of their parts through many signatures."""

from __future__ import annotations

from dataclasses import dataclass

from bayesmixed.design.spec import DesignSpec
from bayesmixed.families.base import Family
from bayesmixed.posterior.draws import Draws
from bayesmixed.priors.priors import Priors


@dataclass(frozen=True)
class Model:
    """What is fitted, without data.

    Attributes
    ----------
    spec : DesignSpec
        What was learned of the columns.
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
        Of the fit: part of the key of every random number.
    """

    model: Model
    draws: Draws
    seed: int

    @property
    def spec(self) -> DesignSpec:
        """The model's."""
        return self.model.spec

    @property
    def family(self) -> Family:
        """The model's."""
        return self.model.family
