"""Distributions of the response, a file each; this is their table."""

from __future__ import annotations

from bayesmixed.errors import quoted
from bayesmixed.families.base import Family
from bayesmixed.families.beta import Beta
from bayesmixed.families.binomial import Binomial
from bayesmixed.families.gamma import Gamma
from bayesmixed.families.gaussian import Gaussian
from bayesmixed.families.links import LINKS
from bayesmixed.families.lognormal import LogNormal
from bayesmixed.families.negativebinomial import NegativeBinomial
from bayesmixed.families.poisson import Poisson
from bayesmixed.families.student import StudentT

FAMILIES: dict[str, type[Family]] = {
    family.name: family for family in (Gaussian, StudentT, LogNormal, Gamma, Beta, Poisson, NegativeBinomial, Binomial)
}


def get_family(name: str, link: str | None = None) -> Family:
    """Look up a family.

    Parameters
    ----------
    name : {"gaussian"}
    link : {"identity"}, optional
        Default: the family's usual link.

    Raises
    ------
    ValueError
        For an unknown family or link; the message lists the known ones.

    Examples
    --------
    >>> get_family("gaussian").auxiliary
    ('sigma',)
    """
    if name not in FAMILIES:
        raise ValueError(f"family must be one of {quoted(FAMILIES)}, got {name!r}.")
    family = FAMILIES[name]
    if link is not None and link not in family.links:
        raise ValueError(f"link of family {name!r} must be None or one of {quoted(family.links)}, got {link!r}.")
    return family(LINKS[link or family.links[0]])
