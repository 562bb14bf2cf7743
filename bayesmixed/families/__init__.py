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


# what others offer under these names, and what to do here
_NOT_OFFERED = {
    **dict.fromkeys(
        ("zip", "zinb", "zero_inflated_poisson", "zero_inflated_negativebinomial", "zero_inflated_binomial"),
        "zero-inflated families are not offered; family='negativebinomial' takes many zeros, too",
    ),
    **dict.fromkeys(
        ("hurdle_poisson", "hurdle_negativebinomial", "hurdle_gamma", "hurdle_lognormal"),
        "hurdle families are not offered; model whether y is zero and, in the rows where it is not, y apart",
    ),
    **dict.fromkeys(
        ("categorical", "multinomial", "nominal"),
        "nominal responses are not offered; model one category against the rest",
    ),
    **dict.fromkeys(("cens", "censored", "weibull", "exponential"), "censored times are not offered"),
    "bernoulli": "for zeros and ones write family='binomial' with trials='column', a column of ones",
    **dict.fromkeys(("student", "studentt", "student_t"), "family='t' is Student's"),
    **dict.fromkeys(("negbinomial", "nbinom", "negative_binomial", "nb"), "write family='negativebinomial'"),
    **dict.fromkeys(("normal", "gauss"), "write family='gaussian'"),
}


def get_family(name: str, link: str | None = None) -> Family:
    """Look up a family.

    Parameters
    ----------
    name : str
        One of `FAMILIES`.
    link : str, optional
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
        cure = f" ({_NOT_OFFERED[name]})" if name in _NOT_OFFERED else ""
        raise ValueError(f"family must be one of {quoted(FAMILIES)}, got {name!r}{cure}.")
    family = FAMILIES[name]
    if link is not None and link not in family.links:
        one = "one of " if len(family.links) > 1 else ""
        raise ValueError(f"link of family {name!r} must be None or {one}{quoted(family.links)}, got {link!r}.")
    return family(LINKS[link or family.links[0]])
