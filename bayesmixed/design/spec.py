"""Turn data and a parsed formula into a `DesignSpec` (learned, plain data) and a `Design` (arrays)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bayesmixed.design.columns import ColumnsSpec
from bayesmixed.design.doubts import warn_beyond_knots, warn_doubtful
from bayesmixed.design.factors import (
    GroupFactor,
    GroupSpec,
    learn_group,
    refuse_single_levels,
    resolve_group_prior,
)
from bayesmixed.design.frames import require_columns
from bayesmixed.design.levels import FactorLevels
from bayesmixed.design.statistics import Sums
from bayesmixed.design.table import Table
from bayesmixed.errors import quoted
from bayesmixed.families.base import Family
from bayesmixed.formula.parse import ParsedFormula, terms_by_factor

State = dict[str, Any]


@dataclass(frozen=True)
class Design:
    """The arrays a model needs.

    Attributes
    ----------
    X : numpy.ndarray of shape (n, p)
        Columns of the common effects, without the intercept.
    common_names : tuple of str, length p
    has_intercept : bool
    groups : tuple of GroupFactor
    offset : numpy.ndarray of shape (n,), or None
    y : numpy.ndarray of shape (n,), or None
        The response; None for new data.
    weights : numpy.ndarray of shape (n,), or None
        Frequency weights, all positive; None when every row counts once.
    trials : numpy.ndarray of shape (n,), or None
        Number of trials of each row, where the response counts successes.
    common_terms : tuple of str, length p
        The formula's term to which each column belongs.
    contains : tuple of tuple of int, length p
        See `ColumnsSpec.contains`.
    """

    X: np.ndarray
    common_names: tuple[str, ...]
    has_intercept: bool
    groups: tuple[GroupFactor, ...]
    offset: np.ndarray | None = None
    y: np.ndarray | None = None
    weights: np.ndarray | None = None
    trials: np.ndarray | None = None
    common_terms: tuple[str, ...] = ()
    contains: tuple[tuple[int, ...], ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.X)

    @property
    def observed(self) -> np.ndarray:
        """The response, shape (n,), for a design that has one.

        Raises
        ------
        ValueError
        """
        if self.y is None:
            raise ValueError("this design has no response; pass y.")
        return self.y

    @cached_property
    def response(self) -> np.ndarray:
        """The response minus the offset, shape (n,): what the effects explain."""
        return self.observed if self.offset is None else self.observed - self.offset

    def working(self, family: Family) -> Design:
        """The same with the response on the scale of the linear predictor: see `Family.working`."""
        if family in self._on_scale_of:
            return self._on_scale_of[family]
        y = family.working(self.observed)
        return self if y is self.y else self._on_scale_of.setdefault(family, replace(self, y=y))

    @cached_property
    def _on_scale_of(self) -> dict[Family, Design]:
        """Results of `working` by family, so that their statistics too are measured only once."""
        return {}

    @cached_property
    def statistics(self) -> Sums:
        """All sums over the rows that a fit reads, from one pass; needs a response, and no missing or new labels."""
        return Sums.of(self)

    def take(self, rows: slice | np.ndarray) -> Design:
        """The design of some rows, with the same levels; `rows` as NumPy takes them."""

        def some(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        return replace(
            self,
            X=self.X[rows],
            groups=tuple(factor.take(rows) for factor in self.groups),
            offset=some(self.offset),
            y=some(self.y),
            weights=some(self.weights),
            trials=some(self.trials),
        )


@dataclass(frozen=True)
class DesignSpec:
    """What was learned from the formula and the training data: plain data, no rows.

    Attributes
    ----------
    formula : str or None
        The user's text; None when X's columns are the common effects.
    response : str or None
        Column of the response in a two-sided formula.
    trials : str or None
        Column of the numbers of trials, where the response counts successes.
    common : ColumnsSpec
    groups : tuple of GroupSpec
    """

    formula: str | None
    response: str | None
    trials: str | None
    common: ColumnsSpec
    groups: tuple[GroupSpec, ...]

    @property
    def common_names(self) -> tuple[str, ...]:
        """Labels of the common effects."""
        return self.common.names

    @property
    def common_terms(self) -> tuple[str, ...]:
        """The formula's term that each column belongs to."""
        return self.common.term_of_name

    @property
    def parts(self) -> list[ColumnsSpec]:
        """The common part, and the left side of each bar."""
        return [self.common, *(bar for group in self.groups for bar in group.bars)]

    @property
    def has_intercept(self) -> bool:
        """Whether the common part has an intercept."""
        return self.common.has_intercept

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns that the formula uses, including the response; None without a formula, as all are used then."""
        if self.formula is None:
            return None
        names = [*self.common.variables, *(name for name in (self.response, self.trials) if name)]
        for group in self.groups:
            names += [*group.factor_levels.columns, *(name for bar in group.bars for name in bar.variables)]
        return tuple(dict.fromkeys(names))

    def group(self, factor: str) -> GroupSpec:
        """Look up a grouping factor by name.

        Raises
        ------
        ValueError
            No factor has that name; the message lists those that exist.
        """
        groups = {group.name: group for group in self.groups}
        if not isinstance(factor, str) or factor not in groups:
            raise ValueError(
                f"factor must be one of the grouping factors {quoted(groups) or '(there are none)'}, got {factor!r}."
            )
        return groups[factor]

    @classmethod
    def learn(
        cls,
        parsed: ParsedFormula,
        frame: pd.DataFrame,
        *,
        group_prior: str | Mapping[str, str] = "lkj",
        trials: str | None = None,
        y: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> tuple[DesignSpec, Design]:
        """Learn a design from training data.

        Parameters
        ----------
        parsed : ParsedFormula
        frame : DataFrame of shape (n, k)
        group_prior : {"lkj", "independent"} or dict by factor, default="lkj"
            Whether the effects of a bar ``|`` may correlate; those of ``||`` never do.
        trials : str, optional
            Column of the numbers of trials.
        y, weights : numpy.ndarray of shape (n,), or None
            Passed on to the `Design`. Transformations learn from each row as often as it counts, if the weights are
            whole numbers that sum to at most ten million, otherwise from every row once.

        Returns
        -------
        DesignSpec, Design

        Raises
        ------
        FormulaError
            The formula does not fit the columns, a factor has a single level, or an effect is given twice.
        ValueError
            Missing or infinite values in a used column, with their number.

        Warns
        -----
        UserWarning
            See `warn_doubtful`.

        Examples
        --------
        >>> from bayesmixed.datasets import load_sleepstudy
        >>> from bayesmixed.formula.parse import parse
        >>> spec, design = DesignSpec.learn(parse("Days + (Days | Subject)"), load_sleepstudy())
        >>> design.X.shape, design.groups[0].Z.shape, design.groups[0].blocks
        ((180, 1), (180, 2), ((0, 1),))
        """
        table = cls.table_of(parsed, frame, trials=trials, y=y, weights=weights)
        spec, design = cls.learn_from(parsed, table, group_prior=group_prior, trials=trials)
        refuse_single_levels(spec.groups)
        warn_doubtful(spec.parts, table)
        return spec, design

    @classmethod
    def table_of(
        cls,
        parsed: ParsedFormula,
        frame: pd.DataFrame,
        *,
        trials: str | None = None,
        y: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        all_categories: bool | Collection[str] = False,
    ) -> Table:
        """Read the columns of a frame that a formula needs; other parameters as in `Table.read`."""
        of_groups = [name for term in parsed.groups for name in term.columns]
        return Table.read(
            frame,
            parsed.of_effects,
            tuple(of_groups),
            formula=parsed.text,
            trials=trials,
            y=y,
            weights=weights,
            all_categories=all_categories,
        )

    @classmethod
    def learn_from(
        cls,
        parsed: ParsedFormula,
        table: Table,
        *,
        group_prior: str | Mapping[str, str] = "lkj",
        trials: str | None = None,
    ) -> tuple[DesignSpec, Design]:
        """As `learn`, from columns already read; a factor may have a single level, and there are no warnings."""
        spec, codes = cls.learn_columns(parsed, table, group_prior, trials)
        factors = [group.evaluate(table, own, ()) for group, own in zip(spec.groups, codes, strict=True)]
        return spec, spec._design(table, tuple(factors))

    @classmethod
    def learn_columns(
        cls,
        parsed: ParsedFormula,
        table: Table,
        group_prior: str | Mapping[str, str] = "lkj",
        trials: str | None = None,
    ) -> tuple[DesignSpec, list[np.ndarray]]:
        """The spec that `learn_from` returns, and the codes of each factor; nothing is evaluated yet."""
        text, counts = parsed.text, table.counts
        common = ColumnsSpec.learn(parsed.common, parsed.variables, table, counts)
        by_factor = terms_by_factor(parsed)
        correlated = resolve_group_prior(group_prior, tuple(by_factor))
        groups, codes = [], []
        for factor, terms in by_factor.items():
            group, own = learn_group(factor, terms, table, text, correlated=correlated[factor], counts=counts)
            groups.append(group)
            codes.append(own)
        return cls(text, parsed.response, trials, common, tuple(groups)), codes

    @classmethod
    def plain(
        cls, frame: pd.DataFrame, y: np.ndarray | None = None, weights: np.ndarray | None = None
    ) -> tuple[DesignSpec, Design]:
        """Learn a design with every column of a numeric frame as a common effect, and an intercept."""
        spec = cls(None, None, None, ColumnsSpec.plain(list(frame.columns)), ())
        return spec, spec.evaluate(spec.read(frame, y=y, weights=weights))

    def read(
        self,
        frame: pd.DataFrame,
        factors: tuple[str, ...] | None = None,
        *,
        trials: bool = True,
        y: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        all_categories: bool | Collection[str] = False,
    ) -> Table:
        """Read the columns of a frame that the design needs.

        Parameters
        ----------
        frame : DataFrame of shape (n, k)
            Holds the columns that the formula uses, in any order.
        factors : tuple of str, optional
            The grouping factors to include; the columns of the others may be absent. Default: all.
        trials : bool, default=True
            Whether to read the numbers of trials, if any: a linear predictor does not depend on them.
        y, weights, all_categories
            As in `Table.read`.
        """
        of_effects: list[str] = [*self.common.variables]
        of_groups: list[str] = []
        for group in self.groups:
            if factors is None or group.name in factors:
                cure = (
                    " To predict without this factor's effects, pass include_groups=False or a list of other factors."
                )
                require_columns(frame, group.factor_levels.columns, self.formula, cure)
                of_groups += group.factor_levels.columns
                of_effects += [name for bar in group.bars for name in bar.variables]
        return Table.read(
            frame,
            tuple(of_effects),
            tuple(of_groups),
            formula=self.formula,
            trials=self.trials if trials else None,
            y=y,
            weights=weights,
            all_categories=all_categories,
        )

    def evaluate(self, table: Table, factors: tuple[str, ...] | None = None) -> Design:
        """Evaluate the learned design on rows read by `read` for the same factors."""
        included = []
        for group in self.groups:
            if factors is None or group.name in factors:
                codes, new_labels = group.factor_levels.code(table)
                included.append(group.evaluate(table, codes, new_labels))
        return self._design(table, tuple(included))

    def apply(self, frame: pd.DataFrame, factors: tuple[str, ...] | None = None) -> Design:
        """Evaluate the learned design on new data: `read`, then `evaluate`."""
        return self.evaluate(self.read(frame, factors), factors)

    def releveled(self, table: Table) -> tuple[DesignSpec, Design]:
        """The same columns, but with the grouping factors' levels in other rows, and the design of these rows.

        Raises
        ------
        ValueError
            A label is missing.
        """
        groups, factors = [], []
        for group in self.groups:
            table.refuse_missing_labels(group.factor_levels.columns, group.name)
            levels, codes = FactorLevels.learn(table, group.factor_levels.columns)
            groups.append(replace(group, factor_levels=levels))
            factors.append(groups[-1].evaluate(table, codes, ()))
        return replace(self, groups=tuple(groups)), self._design(table, tuple(factors))

    def extended(self, design: Design) -> tuple[DesignSpec, Design]:
        """Add the new levels of a design after those of the fit; codes stay as they are.

        Parameters
        ----------
        design : Design
            Of all factors, from `apply`.

        Raises
        ------
        ValueError
            A new label differs in type from the fitted ones.
        """
        specs, factors = [], []
        for spec, factor in zip(self.groups, design.groups, strict=True):
            specs.append(replace(spec, factor_levels=spec.factor_levels.extended(factor.new_labels)))
            factors.append(replace(factor, levels=specs[-1].levels, new_labels=()))
        return replace(self, groups=tuple(specs)), replace(design, groups=tuple(factors))

    def _design(self, table: Table, factors: tuple[GroupFactor, ...]) -> Design:
        common = self.common
        included = {factor.name for factor in factors}
        bars = [bar for group in self.groups if group.name in included for bar in group.bars]
        X, offset = common.evaluate(table)
        warn_beyond_knots([common, *bars], table)
        return Design(
            X,
            common.names,
            common.has_intercept,
            factors,
            offset,
            table.y,
            table.weights,
            table.trials,
            common_terms=common.term_of_name,
            contains=common.contains,
        )

    @property
    def state(self) -> State:
        """Plain data: ``from_state(json.loads(json.dumps(state)))`` applies bit-equally in a new process."""
        return {
            "formula": self.formula,
            "response": self.response,
            "trials": self.trials,
            "common": self.common.state,
            "groups": [group.state for group in self.groups],
        }

    @classmethod
    def from_state(cls, state: State) -> DesignSpec:
        """Inverse of `state`.

        Raises
        ------
        FormulaError
            For a spline basis learned with a version of formulae in which ``bs`` means something else.
        """
        groups = tuple(map(GroupSpec.from_state, state["groups"]))
        return cls(
            state["formula"], state["response"], state["trials"], ColumnsSpec.from_state(state["common"]), groups
        )
