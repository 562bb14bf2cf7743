"""A posterior, passed whole: draws, what was learned of the columns, the family, and the seed."""

from __future__ import annotations

from dataclasses import dataclass

from bayesmixed.design.spec import DesignSpec
from bayesmixed.families.base import Family
from bayesmixed.posterior.draws import Draws


@dataclass(frozen=True)
class Posterior:
    """All that predictions need.

    Attributes
    ----------
    draws : Draws
    spec : DesignSpec
    family : Family
    seed : int
        Of the fit: part of the key of every random number.
    """

    draws: Draws
    spec: DesignSpec
    family: Family
    seed: int
