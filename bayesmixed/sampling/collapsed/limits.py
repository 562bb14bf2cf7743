"""What the collapsed sampler is not for."""

from __future__ import annotations

from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.distributions import Normal
from bayesmixed.errors import quoted
from bayesmixed.gaussian.density import elimination_order
from bayesmixed.gaussian.elimination import Columns, products_kept
from bayesmixed.gaussian.nested import chain
from bayesmixed.gaussian.statistics import CrossProducts
from bayesmixed.priors.priors import Priors

MAX_DIMENSION = 21  # coordinates of the covariances up to which one t distribution covers them
MAX_COLUMNS = 2500  # effects of crossed factors beside the largest: one dense matrix of that size
MAX_PRODUCTS = 50_000_000  # numbers of the matrix of cross-products: with what building it takes, a few GB


def prior_in_the_way(priors: Priors) -> str:
    """Why the priors keep the effects from being integrated out; empty where they do not."""
    given = dict(priors.common) if priors.intercept is None else {"Intercept": priors.intercept, **priors.common}
    found = [f"{name!r}: {prior!r}" for name, prior in given.items() if not isinstance(prior, Normal)]
    return f"only Normal priors of common effects integrate out, not {', '.join(found)}" if found else ""


def too_large(design: Design | DesignSpec, statistics: CrossProducts) -> str:
    """Why the model is beyond the sampler; empty where it is not."""
    pairs = sum(len(factor.pairs) for factor in design.groups)
    dimension = pairs + sum(len(factor.effect_names) for factor in design.groups)
    if dimension > MAX_DIMENSION:
        return f"{dimension} standard deviations and correlations are more than {MAX_DIMENSION}"
    order = elimination_order(statistics)
    columns = Columns.of(statistics, order[1:])
    if chain(statistics) is None and columns.m > MAX_COLUMNS:
        others = quoted(design.groups[f].name for f in order[1:])
        return f"the crossed factors {others} have {columns.m} effects, more than {MAX_COLUMNS}"
    if (products := products_kept(statistics, order[0], columns)) > MAX_PRODUCTS:
        first = design.groups[order[0]].name
        return f"the groups of {first!r} meet so many other columns that {products:.1e} cross-products would be kept"
    return ""
