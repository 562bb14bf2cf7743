"""What a fit is made from where the rows were summed: the same checks as of rows, by sums."""

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
_CONSTANT = 1e-14  # of y's root mean square: a spread that is rounding


def learn_sums(estimator: Any, statistics: Summed) -> Summed:
    """Check statistics as the rows of a fit are checked, and take out what no row has.

    Parameters
    ----------
    estimator : MixedModel
        Its parameters are read.
    statistics : Summed

    Raises
    ------
    FormulaError
        They are of another formula.
    ValueError
        They are of another family; the response is constant.
    """
    family, parsed = estimator._find_family(), formula_of(estimator.formula, statistics)
    if (family.name, family.link.name) != (statistics.family.name, statistics.family.link.name):
        raise ValueError(
            f"the statistics are of family {statistics.family.name!r}, the estimator is of family={family.name!r}."
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
    """The statistics' formula, which the estimator's has to be.

    Raises
    ------
    FormulaError
        It is another one.
    """
    spec = statistics.spec
    theirs = None if spec.formula is None else parse(spec.formula)
    if formula is None or formula == spec.formula:
        return theirs
    mine = parse(formula)
    if theirs is None or _right(mine) != _right(theirs) or mine.response not in (None, spec.response):
        raise FormulaError(
            f"the estimator's formula is {formula!r}, and the sums over rows are of {spec.formula!r} alone. "
            f"Write formula={spec.formula!r}, or formula=None."
        )
    return theirs


def _right(parsed: ParsedFormula) -> tuple[Any, ...]:
    """What a formula says beside its response."""
    return parsed.common, parsed.groups, parsed.variables


def refuse_settings(estimator: Any, part: Summed | DesignSpec, family: Family, what: str = "partial_fit") -> None:
    """Refuse parameters under which no posterior of sums can be drawn, whatever rows may come.

    Parameters
    ----------
    estimator : MixedModel
    part : Summed or DesignSpec
        Of its formula, of some rows.
    family : Family
    what : str, default="partial_fit"
        What keeps sums.

    Raises
    ------
    SamplerError
        A sampler that needs rows, or a prior that keeps effects from integrating out.
    ValueError
        Names or values of `priors`, `lkj_eta` or `group_prior`.
    """
    resolve_group_prior(estimator.group_prior, tuple(group.name for group in part.groups))
    priors = stated_priors(part, family, estimator.priors, estimator.lkj_eta)
    refuse_sampler(estimator, what)
    if found := not_normal(priors):
        raise SamplerError(
            f"{what} keeps sums over rows, of which only Normal priors of common effects integrate out, not "
            f"{found}. State Normal ones, or fit all rows together."
        )


def refuse_sampler(estimator: Any, what: str) -> None:
    """Refuse a sampler that needs rows.

    Raises
    ------
    SamplerError
    """
    if estimator.sampler not in _OF_SUMS:
        raise SamplerError(
            f"{what} keeps sums over rows, and sampler={estimator.sampler!r} needs the rows themselves. Use one "
            f"of {quoted(_OF_SUMS)}, or fit all rows together."
        )


def require_rows(X: Any, what: str = "what is asked") -> None:
    """Refuse statistics, and rows that are not in one frame, where rows are needed.

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
            f"{what} needs rows, got {type(X).__name__}; sums over rows are for fit alone; a + b adds some to others."
        )
    source = find_source(X)
    if source is not None and not source.in_memory:
        raise TypeError(
            f"{what} needs rows in memory, got {kind_of(X)}: hand in one frame, such as X.collect(), X.compute(), "
            "X.read_all() or pandas.read_parquet(X) returns, or part after part in a loop."
        )
