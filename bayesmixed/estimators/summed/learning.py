"""What a fit to summed rows needs: the same checks as for rows, based on sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayesmixed.design.factors import refuse_single_levels, resolve_group_prior
from bayesmixed.design.frames import kind_of
from bayesmixed.design.sources.find import find_source
from bayesmixed.design.spec import DesignSpec
from bayesmixed.design.summed.summed import Summed
from bayesmixed.errors import FormulaError, SamplerError, quoted
from bayesmixed.estimators.identification.residuals import check_groups, check_residuals
from bayesmixed.estimators.identification.undetermined import warn_levels_of_one_row, warn_undetermined
from bayesmixed.estimators.identification.weights import warn_few_rows
from bayesmixed.families.base import Family
from bayesmixed.formula.parse import ParsedFormula, parse
from bayesmixed.priors.resolve import stated_priors
from bayesmixed.sampling.shared import not_normal

_OF_SUMS = ("auto", "collapsed", "gibbs")  # samplers that need no rows
_CONSTANT = 1e-14  # times y's root mean square: a smaller spread is a rounding error


def learn_sums(estimator: Any, statistics: Summed) -> Summed:
    """Check statistics in the same way as the rows of a fit, and remove what no row has.

    Parameters
    ----------
    estimator : MixedModel
        Its parameters are read.
    statistics : Summed

    Raises
    ------
    FormulaError
        If they belong to another formula.
    ValueError
        If they belong to another family, or the response is constant.
    """
    family, parsed = estimator._find_family(), formula_of(estimator.formula, statistics)
    if (family.name, family.link.name) != (statistics.family.name, statistics.family.link.name):
        raise ValueError(
            f"the statistics were made for family {statistics.family.name!r}, but the estimator has "
            f"family={family.name!r}."
        )
    if estimator.trials is not None:
        raise ValueError(f"the trials {estimator.trials!r} are for family='binomial', not for family={family.name!r}.")
    summed = statistics.as_fitted(parsed, estimator.group_prior)
    if summed.n_rows < 2:
        raise ValueError(f"Found {summed.n_rows} sample(s) with a positive weight, while a minimum of 2 is required.")
    common = summed.sums.common
    if np.sqrt(max(common.covariance[-1, -1], 0.0)) <= _CONSTANT * np.sqrt(common.raw[-1, -1]):
        value = float(f"{family.from_working(common.mean[-1]):.12g}")
        raise ValueError(f"y is constant ({value} in all {summed.n_rows} rows): there is nothing to explain.")
    refuse_single_levels(summed.groups)
    warn_few_rows(summed, family)
    if parsed is not None:
        warn_undetermined(summed)
    warn_levels_of_one_row(summed)
    check_residuals(summed, refuse=parsed is not None)
    check_groups(summed)
    return summed


def formula_of(formula: str | None, statistics: Summed) -> ParsedFormula | None:
    """The formula of the statistics, with which the estimator's must agree.

    Raises
    ------
    FormulaError
        If it does not.
    """
    spec = statistics.spec
    theirs = None if spec.formula is None else parse(spec.formula)
    if formula is None or formula == spec.formula:
        return theirs
    mine = parse(formula)
    if theirs is None or _right(mine) != _right(theirs) or mine.response not in (None, spec.response):
        raise FormulaError(
            f"the estimator's formula is {formula!r}, but the sums over rows were made for {spec.formula!r}. "
            f"Write formula={spec.formula!r}, or formula=None."
        )
    return theirs


def _right(parsed: ParsedFormula) -> tuple[Any, ...]:
    """What a formula says apart from its response."""
    return parsed.common, parsed.groups, parsed.variables


def refuse_settings(estimator: Any, part: Summed | DesignSpec, family: Family, what: str = "partial_fit") -> None:
    """Reject parameters with which no posterior can be drawn from sums, whatever the rows.

    Parameters
    ----------
    estimator : MixedModel
    part : Summed or DesignSpec
        For its formula and some rows.
    family : Family
    what : str, default="partial_fit"
        The method that keeps sums, for messages.

    Raises
    ------
    SamplerError
        For a sampler that needs rows, or a prior that prevents effects from being integrated out.
    ValueError
        For invalid names or values in `priors`, `lkj_eta` or `group_prior`.
    """
    resolve_group_prior(estimator.group_prior, tuple(group.name for group in part.groups))
    priors = stated_priors(part, family, estimator.priors, estimator.lkj_eta)
    refuse_sampler(estimator, what)
    if found := not_normal(priors):
        raise SamplerError(
            f"{what} keeps only sums over rows, for which common effects need Normal priors; found {found}. Use Normal "
            "priors, or fit all rows together."
        )


def refuse_sampler(estimator: Any, what: str) -> None:
    """Reject a sampler that needs rows.

    Raises
    ------
    SamplerError
    """
    if estimator.sampler not in _OF_SUMS:
        raise SamplerError(
            f"{what} keeps only sums over rows, but sampler={estimator.sampler!r} needs the rows themselves. Use one "
            f"of {quoted(_OF_SUMS)}, or fit all rows together."
        )


def require_rows(X: Any, what: str = "this method") -> None:
    """Reject statistics, and rows that are not in one frame, if rows are needed.

    Parameters
    ----------
    X
        What was given for rows.
    what : str
        The method that needs them.

    Raises
    ------
    TypeError
    """
    if isinstance(X, Summed):
        raise TypeError(
            f"{what} needs rows, got {type(X).__name__}; only fit accepts sums over rows, and a + b adds them up."
        )
    source = find_source(X)
    if source is not None and not source.in_memory:
        raise TypeError(
            f"{what} needs rows in memory, got {kind_of(X)}: pass one frame, for example from X.collect(), "
            "X.compute(), X.read_all() or pandas.read_parquet(X), or pass part after part in a loop."
        )
