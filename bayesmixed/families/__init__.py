"""Distributions of the response, one file each, and the table of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bayesmixed.errors import quoted
from bayesmixed.families.base import ClassFamily, Family
from bayesmixed.families.bernoulli import Bernoulli
from bayesmixed.families.beta import Beta
from bayesmixed.families.binomial import Binomial
from bayesmixed.families.cumulative import Cumulative
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
# those whose effects can be integrated out, so that sums over rows are all that a fit needs
COLLAPSING = tuple(name for name, family in FAMILIES.items() if family.collapses)
CLASS_FAMILIES: dict[str, type[ClassFamily]] = {family.name: family for family in (Bernoulli, Cumulative)}

# names that other packages use, and what to do here instead
_NOT_OFFERED = {
    **dict.fromkeys(
        ("zip", "zinb", "zero_inflated_poisson", "zero_inflated_negativebinomial", "zero_inflated_binomial"),
        "zero-inflated families are not offered; family='negativebinomial' also allows for many zeros",
    ),
    **dict.fromkeys(
        ("hurdle_poisson", "hurdle_negativebinomial", "hurdle_gamma", "hurdle_lognormal"),
        "hurdle families are not offered; fit one model to whether y is zero and one to y in the other rows",
    ),
    **dict.fromkeys(
        ("categorical", "multinomial", "nominal"),
        "nominal responses are not offered; model each category against the rest, as OneVsRestClassifier does",
    ),
    **dict.fromkeys(("cens", "censored", "weibull", "exponential"), "censored times are not offered"),
    **dict.fromkeys(("ordinal", "ordered", "clm", "sratio", "acat"), "for ordered classes write family='cumulative'"),
    **dict.fromkeys(("logistic", "binary", "logit"), "for two classes write family='bernoulli'"),
    **dict.fromkeys(("student", "studentt", "student_t"), "write family='t'"),
    **dict.fromkeys(("negbinomial", "nbinom", "negative_binomial", "nb"), "write family='negativebinomial'"),
    **dict.fromkeys(("normal", "gauss"), "write family='gaussian'"),
}


def get_family(name: str, link: str | None = None) -> Family:
    """Look up a family of numeric responses.

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
    family = _known(name, FAMILIES, CLASS_FAMILIES, "MixedModelClassifier")
    return family(_link(family, link))


def get_class_family(name: str, link: str | None = None) -> ClassFamily:
    """Look up a family of classes, which are not known yet; see `get_family`."""
    family = _known(name, CLASS_FAMILIES, FAMILIES, "MixedModelRegressor")
    return family(_link(family, link))


def _known(name: str, table: dict[str, Any], others: Collection[str], elsewhere: str) -> Any:
    """Look up a family; the error for a name in the other table names the estimator it belongs to."""
    if name not in table:
        cure = f"that family belongs to {elsewhere}" if name in others else _NOT_OFFERED.get(name, "")
        raise ValueError(f"family must be one of {quoted(table)}, got {name!r}{f' ({cure})' if cure else ''}.")
    return table[name]


def _link(family: type[Family], link: str | None) -> Any:
    if link is not None and link not in family.links:
        one = "one of " if len(family.links) > 1 else ""
        raise ValueError(f"link of family {family.name!r} must be None or {one}{quoted(family.links)}, got {link!r}.")
    return LINKS[link or family.links[0]]
