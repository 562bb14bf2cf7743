"""Grouping factors: what is learned about a factor from its bars, and its arrays in one set of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from bayesmixed.design.columns import ColumnsSpec
from bayesmixed.design.levels import FactorLevels
from bayesmixed.design.table import Table
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.formula.parse import GroupTerm

State = dict[str, Any]
GROUP_PRIORS = ("lkj", "independent")


class Effects:
    """Properties that follow from the effects' names and blocks alone."""

    name: Any
    effect_names: Any
    blocks: Any
    effect_terms: Any
    contains: Any

    @property
    def intercept_at(self) -> int | None:
        """Position of the group intercept; None without one."""
        return self.effect_names.index("Intercept") if "Intercept" in self.effect_names else None

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
class GroupFactor(Effects):
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
    effect_terms : tuple of str, length q
        The term of its bar that each effect belongs to.
    contains : tuple of tuple of int, length q
        Positions of the effects of the same bar that each effect contains, its intercept included; see
        `ColumnsSpec.contains`.
    new_labels : tuple
        Labels that were not seen in fit; a label of ``a:b`` is a tuple.
    """

    name: str
    levels: np.ndarray
    codes: np.ndarray
    Z: np.ndarray
    effect_names: tuple[str, ...]
    blocks: tuple[tuple[int, ...], ...]
    effect_terms: tuple[str, ...]
    contains: tuple[tuple[int, ...], ...]
    new_labels: tuple[Any, ...] = ()

    def take(self, rows: slice | np.ndarray) -> GroupFactor:
        """The factor in some rows, with the same levels; `rows` as NumPy takes them."""
        return replace(self, codes=self.codes[rows], Z=self.Z[rows])


@dataclass(frozen=True)
class GroupSpec(Effects):
    """What was learned about one grouping factor, from any number of bars.

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
        return tuple(name for bar in self.bars for name in _with_intercept(bar, bar.names))

    @property
    def effect_terms(self) -> tuple[str, ...]:
        """The term of its bar that each effect belongs to."""
        return tuple(term for bar in self.bars for term in _with_intercept(bar, bar.term_of_name))

    @property
    def contains(self) -> tuple[tuple[int, ...], ...]:
        """See `GroupFactor`."""
        found: list[tuple[int, ...]] = []
        for bar in self.bars:
            first = len(found)
            intercept = (first,) * bar.has_intercept
            found += [()] * bar.has_intercept
            found += [(*intercept, *(first + len(intercept) + at for at in inner)) for inner in bar.contains]
        return tuple(found)

    def evaluate(self, table: Table, codes: np.ndarray, new_labels: tuple[Any, ...]) -> GroupFactor:
        """Evaluate the factor in the rows of `table`, whose levels are already coded."""
        parts = []
        for bar in self.bars:
            block, _ = bar.evaluate(table)
            parts += [np.ones((table.n_rows, 1)), block] if bar.has_intercept else [block]
        Z = np.concatenate(parts, axis=1)
        return GroupFactor(
            self.name,
            self.levels,
            codes,
            Z,
            self.effect_names,
            self.blocks,
            self.effect_terms,
            self.contains,
            new_labels,
        )

    @property
    def state(self) -> State:
        """Plain data for JSON."""
        return {
            "name": self.name,
            "levels": self.factor_levels.state,
            "bars": [bar.state for bar in self.bars],
            "blocks": [list(block) for block in self.blocks],
        }

    @classmethod
    def from_state(cls, state: State) -> GroupSpec:
        """Inverse of `state`."""
        return cls(
            state["name"],
            FactorLevels.from_state(state["levels"]),
            tuple(map(ColumnsSpec.from_state, state["bars"])),
            tuple(map(tuple, state["blocks"])),
        )


def _with_intercept(bar: ColumnsSpec, names: tuple[str, ...]) -> tuple[str, ...]:
    return ("Intercept", *names) if bar.has_intercept else names


def learn_group(
    factor: str,
    terms: list[GroupTerm],
    table: Table,
    text: str,
    *,
    correlated: bool,
    counts: np.ndarray | None = None,
) -> tuple[GroupSpec, np.ndarray]:
    """Learn one factor from all its bars; also returns each row's code, int (n,). For `counts`, see `ColumnsSpec`."""
    columns = terms[0].columns
    table.refuse_missing_labels(columns, factor)
    levels, codes = FactorLevels.learn(table, columns)
    bars: list[ColumnsSpec] = []
    names: list[str] = []
    for term in terms:
        bar = ColumnsSpec.learn(term.effects_formula, term.variables, table, counts)
        if any(component.kind == "offset" for parts in bar.terms for component in parts):
            raise FormulaError(f"formula {text!r}: an offset cannot be used left of a bar.")
        effects = _with_intercept(bar, bar.names)
        if not effects:
            raise FormulaError(f"formula {text!r}: '({term.effects_formula} | {factor})' has no effects.")
        if again := [name for name in effects if name in names]:
            raise FormulaError(
                f"formula {text!r}: grouping factor {factor!r} has the effect {quoted(again)} twice. A bar has an "
                "intercept unless it starts with '0 +', as in (0 + x | g)."
            )
        bars.append(bar)
        names += effects
    return GroupSpec(factor, levels, tuple(bars), blocks_of(terms, bars, correlated)), codes


def blocks_of(terms: list[GroupTerm], bars: Iterable[ColumnsSpec], correlated: bool) -> tuple[tuple[int, ...], ...]:
    """Positions of the effects of a factor's bars by block: in the same block if a bar's effects may correlate."""
    blocks: list[tuple[int, ...]] = []
    start = 0
    for term, bar in zip(terms, bars, strict=True):
        positions = tuple(range(start, start + len(_with_intercept(bar, bar.names))))
        blocks += [positions] if correlated and term.correlated is None else [(i,) for i in positions]
        start += len(positions)
    return tuple(blocks)


def refuse_single_levels(groups: Iterable[GroupSpec]) -> None:
    """Reject a fit with a factor that has a single level.

    Raises
    ------
    FormulaError
    """
    for group in groups:
        if len(group.levels) == 1:
            raise FormulaError(
                f"grouping factor {group.name!r} has a single level, {group.levels.tolist()[0]!r}; the spread of its "
                "effects cannot be learned. Drop the bar."
            )


def by_factor(value: Any, factors: Iterable[str], name: str, error: type[ValueError] = ValueError) -> dict[str, Any]:
    """Give every factor a value, or read a dict that names some factors.

    Parameters
    ----------
    value : object or dict by factor
    factors : iterable of str
    name : str
        Name of the parameter, for the message.
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
        raise ValueError(f"group_prior must be one of {quoted(GROUP_PRIORS)}, or a dict of these, got {quoted(wrong)}.")
    return {factor: prior == "lkj" for factor, prior in priors.items()}
