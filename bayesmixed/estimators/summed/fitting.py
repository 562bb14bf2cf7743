"""`fit` to rows that are not in memory: their sums, after checking that sums are sufficient."""

from __future__ import annotations

from typing import Any

from bayesmixed.design.sources.find import find_source
from bayesmixed.design.sources.frames import Frames, Made
from bayesmixed.design.sources.known import not_told
from bayesmixed.design.sources.source import Source
from bayesmixed.design.spec import DesignSpec
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.estimators.summed.learning import refuse_sampler, refuse_settings
from bayesmixed.estimators.summed.of_chunks import Reading
from bayesmixed.estimators.summed.reading import refuse_learning
from bayesmixed.estimators.summed.sources import sum_source
from bayesmixed.estimators.summed.statistics import SufficientStatistics
from bayesmixed.families import COLLAPSING
from bayesmixed.families.base import Family
from bayesmixed.formula.parse import ParsedFormula, parse

_WHAT = "fit of rows that are not in memory"


def chunked(X: Any, formula: str | None) -> Source | None:
    """X as a source, if its rows are not in memory; an iterable of frames counts as one only if there is a formula."""
    source = find_source(X)
    if source is None or source.in_memory or (formula is None and isinstance(source, (Frames, Made))):
        return None
    return source


def sum_for_fit(estimator: Any, source: Source, y: Any, sample_weight: Any) -> tuple[Any, tuple[Any, ...]]:
    """Sums over the rows of a source, and the names of its columns.

    Raises
    ------
    FormulaError, ValueError, TypeError
        As in `sum_source`; and for y or weights that are not columns of the source.
    SamplerError
        For a sampler or a prior that needs all rows at once.
    """
    family = estimator._find_family()
    parsed = _formula(estimator, y, sample_weight)
    _refuse(estimator, family)
    refuse_learning(parsed, "the source", not_told(parsed))

    def refuse(spec: DesignSpec) -> None:
        refuse_settings(estimator, spec, family, _WHAT)

    reading = Reading(SufficientStatistics, parsed, family, sample_weight, dict(estimator.categories or {}))
    return sum_source(source, reading, refuse=refuse, progressbar=estimator.progressbar)


def _formula(estimator: Any, y: Any, sample_weight: Any) -> ParsedFormula:
    if y is not None:
        raise ValueError(
            "y cannot be passed separately for rows that are not in memory: the response must be one of their "
            "columns, named in the formula, 'y ~ ...'."
        )
    if sample_weight is not None and not isinstance(sample_weight, str):
        raise ValueError("for rows that are not in memory, sample_weight must be the name of one of their columns.")
    parsed = None if estimator.formula is None else parse(estimator.formula)
    if parsed is None or parsed.response is None:
        raise FormulaError(
            f"rows that are not in memory need a formula that names the response, 'y ~ ...', got {estimator.formula!r}."
        )
    return parsed


def _refuse(estimator: Any, family: Family) -> None:
    """Reject settings for which sums are not sufficient, before anything is read."""
    if not family.collapses:
        raise ValueError(
            f"{_WHAT} is only for families {quoted(COLLAPSING)}, whose rows can be summed; {family.name!r} needs all "
            "rows at once. Fit a frame in memory: a sample of the rows, or fewer columns."
        )
    if estimator.trials is not None:
        raise ValueError(f"the trials {estimator.trials!r} are for family='binomial', not for family={family.name!r}.")
    refuse_sampler(estimator, _WHAT)
