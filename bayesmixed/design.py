"""Data and a parsed formula become a `DesignSpec` (learned, plain data) and a `Design` (arrays)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from bayesmixed.columns import ColumnsSpec
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.formula import GroupTerm, ParsedFormula
from bayesmixed.frames import read_columns, refuse_missing_labels, require_columns
from bayesmixed.levels import FactorLevels

State = dict[str, Any]
GROUP_PRIORS = ("lkj", "independent")


class _Effects:
    """What follows from the effects' names and blocks alone."""

    effect_names: Any
    blocks: Any

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Positions (i, j), i < j, of the effects that may correlate: block by block, row by row."""
        return tuple(pair for block in self.blocks for pair in combinations(block, 2))

    @property
    def pair_names(self) -> tuple[str, ...]:
        """Names of `pairs`, e.g. ``("Intercept:Days",)``."""
        names = [f"({name})" if ":" in name else name for name in self.effect_names]
        return tuple(f"{names[i]}:{names[j]}" for i, j in self.pairs)


@dataclass(frozen=True)
class GroupFactor(_Effects):
    """One grouping factor in one set of rows.

    Its part of the linear predictor is ``(Z * b[codes]).sum(-1)`` with ``b`` of shape (n_levels, q).

    Attributes
    ----------
    name : str
        E.g. ``"Subject"``; ``"batch:cask"`` for an interaction.
    levels : numpy.ndarray of shape (n_levels,)
        Labels seen in fit, in the order of the codes.
    codes : numpy.ndarray of int, shape (n,)
        Position in `levels`; -1 for a missing label; ``n_levels + k`` for ``new_labels[k]``.
    Z : numpy.ndarray of shape (n, q)
        Values of the effects' columns.
    effect_names : tuple of str, length q
        E.g. ``("Intercept", "Days")``.
    blocks : tuple of tuple of int
        Partition of the effects: correlated inside a block, independent between blocks.
    new_labels : tuple
        Labels that were not seen in fit; a label of ``a:b`` is a tuple.
    """

    name: str
    levels: np.ndarray
    codes: np.ndarray
    Z: np.ndarray
    effect_names: tuple[str, ...]
    blocks: tuple[tuple[int, ...], ...]
    new_labels: tuple[Any, ...] = ()


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
    common_terms : tuple of str, length p
        The formula's term that each column belongs to.
    """

    X: np.ndarray
    common_names: tuple[str, ...]
    has_intercept: bool
    groups: tuple[GroupFactor, ...]
    offset: np.ndarray | None = None
    y: np.ndarray | None = None
    weights: np.ndarray | None = None
    common_terms: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.X)

    @cached_property
    def response(self) -> np.ndarray:
        """The response minus the offset, shape (n,): what the effects explain."""
        if self.y is None:
            raise ValueError("this design has no response; pass y.")
        return self.y if self.offset is None else self.y - self.offset


@dataclass(frozen=True)
class GroupSpec(_Effects):
    """What was learned about one grouping factor, whatever number of bars it came from.

    Attributes
    ----------
    name : str
    factor_levels : FactorLevels
    bars : tuple of ColumnsSpec
        The left side of each bar.
    blocks : tuple of tuple of int
        See `GroupFactor`.
    """

    name: str
    factor_levels: FactorLevels
    bars: tuple[ColumnsSpec, ...]
    blocks: tuple[tuple[int, ...], ...]

    @property
    def levels(self) -> np.ndarray:
        """Labels, shape (n_levels,)."""
        return self.factor_levels.labels

    @property
    def effect_names(self) -> tuple[str, ...]:
        """Names of the effects, bar after bar."""
        return tuple(name for bar in self.bars for name in _effect_names(bar))

    def evaluate(
        self, frame: pd.DataFrame, codes: np.ndarray, new_labels: tuple[Any, ...], text: str | None
    ) -> GroupFactor:
        """Evaluate the factor in the rows of `frame`, whose levels were coded already."""
        parts = []
        for bar in self.bars:
            block, _ = bar.evaluate(read_columns(frame, bar.variables, formula=text))
            parts += [np.ones((len(frame), 1)), block] if bar.has_intercept else [block]
        Z = np.concatenate(parts, axis=1)
        return GroupFactor(self.name, self.levels, codes, Z, self.effect_names, self.blocks, new_labels)


@dataclass(frozen=True)
class DesignSpec:
    """What was learned from formula and training data: plain data, no rows.

    Attributes
    ----------
    formula : str or None
        The user's text; None when X's columns are the common effects.
    response : str or None
        Column of the response in a two-sided formula.
    common : ColumnsSpec
    groups : tuple of GroupSpec
    """

    formula: str | None
    response: str | None
    common: ColumnsSpec
    groups: tuple[GroupSpec, ...]

    @property
    def common_names(self) -> tuple[str, ...]:
        """Labels of the common effects."""
        return self.common.names

    @property
    def has_intercept(self) -> bool:
        """Whether the common part has an intercept."""
        return self.common.has_intercept

    @classmethod
    def learn(
        cls,
        parsed: ParsedFormula,
        frame: pd.DataFrame,
        *,
        group_prior: str | Mapping[str, str] = "lkj",
        y: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> tuple[DesignSpec, Design]:
        """Learn a design from training data.

        Parameters
        ----------
        parsed : ParsedFormula
        frame : DataFrame of shape (n, k)
        group_prior : {"lkj", "independent"} or dict by factor, default="lkj"
            Whether the effects of a bar ``|`` may correlate; ``||`` never.
        y, weights : numpy.ndarray of shape (n,), or None
            Passed on to the `Design`.

        Returns
        -------
        DesignSpec, Design

        Raises
        ------
        FormulaError
            The formula does not fit the columns, a factor has one level, an effect is given twice.
        ValueError
            Missing or infinite values in a used column, with their number.

        Examples
        --------
        >>> from bayesmixed.datasets import load_sleepstudy
        >>> from bayesmixed.formula import parse
        >>> spec, design = DesignSpec.learn(parse("Days + (Days | Subject)"), load_sleepstudy())
        >>> design.X.shape, design.groups[0].Z.shape, design.groups[0].blocks
        ((180, 1), (180, 2), ((0, 1),))
        """
        text = parsed.text
        prepared = read_columns(frame, parsed.variables, formula=text, learning=True)
        common = ColumnsSpec.learn(parsed.common, prepared)
        by_factor: dict[str, list[GroupTerm]] = {}
        for term in parsed.groups:
            by_factor.setdefault(term.factor, []).append(term)
        correlated = resolve_group_prior(group_prior, tuple(by_factor))
        groups, factors = [], []
        for factor, terms in by_factor.items():
            group, codes = _learn_group(factor, terms, frame, text, correlated[factor])
            groups.append(group)
            factors.append(group.evaluate(frame, codes, (), text))
        spec = cls(text, parsed.response, common, tuple(groups))
        return spec, spec._design(frame, tuple(factors), y, weights)

    @classmethod
    def plain(
        cls, frame: pd.DataFrame, y: np.ndarray | None = None, weights: np.ndarray | None = None
    ) -> tuple[DesignSpec, Design]:
        """Every column of a numeric frame as a common effect, with an intercept."""
        spec = cls(None, None, ColumnsSpec.plain(list(frame.columns)), ())
        return spec, spec._design(frame, (), y, weights)

    def apply(self, frame: pd.DataFrame, factors: tuple[str, ...] | None = None) -> Design:
        """Evaluate the learned design on new data.

        Parameters
        ----------
        frame : DataFrame of shape (n, k)
            Holds the columns that the formula uses, in any order.
        factors : tuple of str, optional
            The grouping factors to include; the columns of the others need not be there. Default: all.
        """
        included = []
        for spec in self.groups:
            if factors is not None and spec.name not in factors:
                continue
            cure = " To predict without this factor's effects, pass include_groups=False or a list of other factors."
            require_columns(frame, spec.factor_levels.columns, self.formula, cure)
            codes, new_labels = spec.factor_levels.code(frame)
            included.append(spec.evaluate(frame, codes, new_labels, self.formula))
        return self._design(frame, tuple(included), None, None)

    def _design(
        self, frame: pd.DataFrame, factors: tuple[GroupFactor, ...], y: np.ndarray | None, weights: np.ndarray | None
    ) -> Design:
        X, offset = self.common.evaluate(read_columns(frame, self.common.variables, formula=self.formula))
        return Design(
            X, self.common.names, self.common.has_intercept, factors, offset, y, weights, self.common.term_of_name
        )

    @property
    def state(self) -> State:
        """Plain data: ``from_state(json.loads(json.dumps(state)))`` applies bit-equally in a new process."""
        groups = [
            {
                "name": group.name,
                "levels": group.factor_levels.state,
                "bars": [bar.state for bar in group.bars],
                "blocks": [list(block) for block in group.blocks],
            }
            for group in self.groups
        ]
        return {"formula": self.formula, "response": self.response, "common": self.common.state, "groups": groups}

    @classmethod
    def from_state(cls, state: State) -> DesignSpec:
        """Inverse of `state`.

        Raises
        ------
        FormulaError
            For a spline basis learned by a formulae that means something else by ``bs``.
        """
        groups = tuple(
            GroupSpec(
                group["name"],
                FactorLevels.from_state(group["levels"]),
                tuple(map(ColumnsSpec.from_state, group["bars"])),
                tuple(map(tuple, group["blocks"])),
            )
            for group in state["groups"]
        )
        return cls(state["formula"], state["response"], ColumnsSpec.from_state(state["common"]), groups)


def _effect_names(bar: ColumnsSpec) -> tuple[str, ...]:
    return ("Intercept", *bar.names) if bar.has_intercept else bar.names


def _learn_group(
    factor: str, terms: list[GroupTerm], frame: pd.DataFrame, text: str, correlated: bool
) -> tuple[GroupSpec, np.ndarray]:
    columns = terms[0].columns
    require_columns(frame, columns, text)
    refuse_missing_labels(frame, columns, factor)
    levels, codes = FactorLevels.learn(frame, columns)
    n_levels = len(levels.combinations)
    if n_levels == 1:
        raise FormulaError(
            f"grouping factor {factor!r} has a single level, {levels.labels.tolist()[0]!r}; the spread of its effects "
            "cannot be learned. Drop the bar."
        )
    if n_levels == len(frame):
        warnings.warn(
            f"grouping factor {factor!r} has as many levels as rows ({n_levels}): its effects and the residual "
            "are told apart by their priors alone.",
            UserWarning,
            stacklevel=6,
        )
    bars: list[ColumnsSpec] = []
    blocks: list[tuple[int, ...]] = []
    names: list[str] = []
    for term in terms:
        bar = ColumnsSpec.learn(term.effects_formula, read_columns(frame, term.variables, formula=text, learning=True))
        if any(component.kind == "offset" for parts in bar.terms for component in parts):
            raise FormulaError(f"formula {text!r}: an offset has no place left of a bar.")
        effects = _effect_names(bar)
        if not effects:
            raise FormulaError(f"formula {text!r}: '({term.effects_formula} | {factor})' has no effects.")
        if again := [name for name in effects if name in names]:
            raise FormulaError(
                f"formula {text!r}: grouping factor {factor!r} has the effect {quoted(again)} twice. A bar has an "
                "intercept unless it starts with '0 +', as in (0 + x | g)."
            )
        positions = tuple(range(len(names), len(names) + len(effects)))
        blocks += [positions] if correlated and term.correlated is None else [(i,) for i in positions]
        bars.append(bar)
        names += effects
    return GroupSpec(factor, levels, tuple(bars), tuple(blocks)), codes


def by_factor(value: Any, factors: Iterable[str], name: str, error: type[ValueError] = ValueError) -> dict[str, Any]:
    """Give a value to every factor, or read a dict that names some.

    Parameters
    ----------
    value : object or dict by factor
    factors : iterable of str
    name : str
        The parameter's, for the message.
    error : type of ValueError
        Raised for a name that is not a factor.
    """
    factors = list(factors)
    if not isinstance(value, Mapping):
        return dict.fromkeys(factors, value)
    if unknown := [factor for factor in value if factor not in factors]:
        listed = quoted(factors) or "none"
        raise error(f"{name} names {quoted(unknown)}; the formula's grouping factors are {listed}.")
    return dict(value)


def resolve_group_prior(group_prior: str | Mapping[str, str], factors: tuple[str, ...]) -> dict[str, bool]:
    """Whether the effects of each factor's bars ``|`` may correlate."""
    priors = dict.fromkeys(factors, "lkj") | by_factor(group_prior, factors, "group_prior")
    if wrong := [prior for prior in priors.values() if prior not in GROUP_PRIORS]:
        raise ValueError(f"group_prior must be one of {quoted(GROUP_PRIORS)} or a dict of these, got {quoted(wrong)}.")
    return {factor: prior == "lkj" for factor, prior in priors.items()}
