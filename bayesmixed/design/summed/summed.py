"""Sums over rows with their formula, family and labels: a commutative monoid, whoever summed which rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from bayesmixed.design.factors import GroupSpec, blocks_of, resolve_group_prior
from bayesmixed.design.levels import canonical
from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.design.statistics import Sums
from bayesmixed.design.summed.checksum import checksum
from bayesmixed.design.summed.coding import without_unseen
from bayesmixed.design.summed.levels import joined, refuse_levels, relabelled, renamed, selected
from bayesmixed.design.summed.remainder import remainder
from bayesmixed.design.table import Table
from bayesmixed.errors import quoted
from bayesmixed.families.base import Family
from bayesmixed.formula.parse import ParsedFormula, parse, terms_by_factor
from bayesmixed.formula.terms import Component


@dataclass(frozen=True, eq=False)
class Summed:
    """What a Gaussian fit learns from rows, with the labels of their groups; it holds no rows.

    Wherever a fit needs names, factors and `statistics` of a `Design`, it also accepts one of these.

    Attributes
    ----------
    spec : DesignSpec
        With the levels of these rows.
    family : Family
    sums : Sums
        Of the working response.
    seen : dict of str to numpy.ndarray of int
        By categoric component of the effects, the number of rows with each level.
    orders : dict of str to numpy.ndarray
        For each column of a grouping factor that is a Categorical, all its categories.
    total : float
        Weighted sum of the original response.
    checksum : int or None
        Distinguishes these rows, in any order, from others; None if labels or columns were replaced.
    """

    spec: DesignSpec
    family: Family
    sums: Sums
    seen: Mapping[str, np.ndarray]
    orders: Mapping[str, np.ndarray]
    total: float
    checksum: int | None

    @classmethod
    def of_rows(cls, spec: DesignSpec, design: Design, table: Table, family: Family) -> Self:
        """Sum over the rows of a design, whose columns were read by `table`."""
        seen: dict[str, np.ndarray] = {}
        for part in spec.parts:
            seen |= part.occurrences(table)
        orders = {
            name: canonical(labels.categories)[0]
            for name, labels in table.labels.items()
            if labels.categories is not None
        }
        y = design.observed
        total = float(y.sum() if design.weights is None else design.weights @ y)
        sums = design.working(family).statistics
        if any(np.any(counts == 0) for counts in sums.products.counts):  # levels of other rows
            products, there = sums.products.that_occur()
            spec, sums = _with_levels(spec, there), replace(sums, products=products)
        return cls(spec, family, sums, seen, orders, total, checksum(design))

    # ---- what a fit needs

    @property
    def statistics(self) -> Sums:
        """All sums over the rows that a fit uses."""
        return self.sums

    @property
    def n_rows(self) -> int:
        """Number of rows, whatever their weight."""
        return self.sums.products.n_rows

    @property
    def common_names(self) -> tuple[str, ...]:
        """Labels of the common effects."""
        return self.spec.common_names

    @property
    def has_intercept(self) -> bool:
        """Whether the common part has an intercept."""
        return self.spec.has_intercept

    @property
    def groups(self) -> tuple[GroupSpec, ...]:
        """The grouping factors."""
        return self.spec.groups

    @property
    def common_terms(self) -> tuple[str, ...]:
        """The term of the formula to which each column belongs."""
        return self.spec.common_terms

    @property
    def contains(self) -> tuple[tuple[int, ...], ...]:
        """See `ColumnsSpec.contains`."""
        return self.spec.common.contains

    def working(self, family: Family) -> Self:
        """Itself: the summed response is the working one."""
        return self

    def squares(self) -> dict[str, np.ndarray]:
        """By factor: the weighted sum over rows of z z'."""
        moments = zip(self.groups, self.sums.effects, strict=True)
        return {group.name: measured.raw * measured.weight for group, measured in moments}

    def few(self, minimum: int = 5) -> dict[str, int]:
        """By factor, the number of groups with fewer than `minimum` rows, if there are any."""
        found = {
            group.name: int(np.count_nonzero(counts < minimum))
            for group, counts in zip(self.groups, self.sums.products.counts, strict=True)
        }
        return {name: number for name, number in found.items() if number}

    # ---- as plain data

    @property
    def state(self) -> dict[str, Any]:
        """Plain data, arrays, a family and sums: what a file holds."""
        return {
            "spec": self.spec.state,
            "family": self.family,
            "sums": self.sums,
            "seen": dict(self.seen),
            "orders": dict(self.orders),
            "total": self.total,
            "checksum": self.checksum,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Inverse of `state`.

        Raises
        ------
        ValueError
            If the parts do not belong together.
        """
        spec, sums = DesignSpec.from_state(state["spec"]), state["sums"]
        p, expected = len(spec.common_names), [(len(g.effect_names), len(g.levels)) for g in spec.groups]
        found = list(zip(sums.products.n_effects, sums.products.n_levels, strict=True))
        if sums.products.VV.shape != (p + 2, p + 2) or found != expected or len(sums.origin) != p + 1:
            raise ValueError(f"sums of {found} effects and levels, expected {expected}")
        return cls(spec, state["family"], sums, state["seen"], state["orders"], state["total"], state["checksum"])

    # ---- they add up

    def __add__(self, other: Self) -> Self:
        """Statistics of both sets of rows.

        Raises
        ------
        ValueError
            If they have another formula, family or coding; says which.
        """
        if not isinstance(other, Summed):
            return NotImplemented
        spec, orders, mine, theirs = self._aligned(other)
        levels = [len(group.factor_levels.combinations) for group in spec.groups]
        return replace(
            self,
            spec=spec,
            sums=self.sums.joined(other.sums, mine, theirs, levels),
            seen={name: count + other.seen[name] for name, count in self.seen.items()},
            orders=orders,
            total=self.total + other.total,
            checksum=_checksum(self.checksum, other.checksum, 1),
        )

    def __radd__(self, other: int) -> Self:
        """Adding these to 0 gives these, so that ``sum`` accepts a list of statistics."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __sub__(self, other: Self) -> Self:
        """Statistics of these rows without those of `other`; levels with no rows left are dropped.

        Raises
        ------
        ValueError
            As in ``+``; also if counts, weights, squares or labels show that `other` is not part of these, or if
            rounding hides what is left of a column.
        """
        if not isinstance(other, Summed):
            return NotImplemented
        spec, orders, *places = self._aligned(other)
        levels = [len(group.factor_levels.combinations) for group in spec.groups]
        mine, theirs = (
            replace(own, products=own.products.recoded(place, levels))
            for own, place in zip((self.sums, other.sums), places, strict=True)
        )
        seen = {name: count - other.seen[name] for name, count in self.seen.items()}
        sums = remainder(mine, theirs, spec, seen)
        products, there = sums.products.that_occur()
        return replace(
            self,
            spec=_with_levels(spec, there),
            sums=replace(sums, products=products),
            seen=seen,
            orders=orders,
            total=self.total - other.total,
            checksum=_checksum(self.checksum, other.checksum, -1),
        )

    def _aligned(self, other: Summed) -> tuple[DesignSpec, dict[str, np.ndarray], list[np.ndarray], list[np.ndarray]]:
        """The spec with the levels of both, their orders, and by factor the new codes of the levels of either."""
        self.refuse(other)
        orders = {
            name: order
            for name, order in self.orders.items()
            if np.array_equal(order, other.orders.get(name, order[:0]))
        }
        groups, mine, theirs = [], [], []
        for a, b in zip(self.groups, other.groups, strict=True):
            levels, own, others = joined(a.factor_levels, b.factor_levels, orders)
            groups.append(replace(a, factor_levels=levels))
            mine.append(own)
            theirs.append(others)
        return replace(self.spec, groups=tuple(groups)), orders, mine, theirs

    def refuse(self, other: Summed) -> None:
        """Reject statistics that cannot be added to these.

        Raises
        ------
        ValueError
        """
        if difference := differences(self, other):
            raise ValueError(f"these statistics cannot be added: {difference}")
        for a, b in zip(self.groups, other.groups, strict=True):
            refuse_levels(a.factor_levels, b.factor_levels)

    def relabelled(self, column: str, mapping: Mapping[Any, Any]) -> Self:
        """The same with new labels of a column of grouping factors; see `SufficientStatistics.with_labels`."""
        groups, places = [], []
        for group in self.groups:
            levels, place = group.factor_levels, np.arange(len(group.levels))
            if column in levels.columns:
                part = levels.parts[levels.columns.index(column)]
                levels, place = relabelled(levels, column, renamed(part, column, mapping))
            groups.append(replace(group, factor_levels=levels))
            places.append(place)
        sizes = [len(place) for place in places]
        return replace(
            self,
            spec=replace(self.spec, groups=tuple(groups)),
            sums=replace(self.sums, products=self.sums.products.recoded(places, sizes)),
            orders={name: order for name, order in self.orders.items() if name != column},
            checksum=None,
        )

    # ---- what is fitted

    def as_fitted(self, parsed: ParsedFormula | None, group_prior: str | Mapping[str, str]) -> Self:
        """As a fit to the rows would have read the formula: without levels that never occur, with the requested blocks.

        Parameters
        ----------
        parsed : ParsedFormula, or None
            Of these statistics; None if X's columns are the common effects.
        group_prior : {"lkj", "independent"} or dict by factor
        """
        terms = {} if parsed is None else terms_by_factor(parsed)
        correlated = resolve_group_prior(group_prior, tuple(terms))
        common, A = without_unseen(self.spec.common, self.seen)
        groups, B = [], []
        for group in self.groups:
            coded = [without_unseen(bar, self.seen) for bar in group.bars]
            bars = tuple(bar for bar, _ in coded)
            blocks = blocks_of(terms[group.name], bars, correlated[group.name])
            groups.append(replace(group, bars=bars, blocks=blocks))
            B.append(_of_bars(bars, [own for _, own in coded]))
        spec = replace(self.spec, common=common, groups=tuple(groups))
        same = all(len(own) == own.shape[1] for own in (A, *B))
        if same:
            return replace(self, spec=spec)
        # rows evaluated without these levels have other columns, and another checksum
        return replace(self, spec=spec, sums=self.sums.of_columns(A, B), checksum=None)


Measured = Design | Summed  # what a Gaussian model can be fitted to
Named = Design | Summed | DesignSpec  # what knows the names of columns and factors


def _with_levels(spec: DesignSpec, there: list[np.ndarray]) -> DesignSpec:
    """The spec with some of its levels, by factor."""
    groups = [
        replace(group, factor_levels=selected(group.factor_levels, at))
        for group, at in zip(spec.groups, there, strict=True)
    ]
    return replace(spec, groups=tuple(groups))


def _of_bars(bars: Iterable[Any], maps: list[np.ndarray]) -> np.ndarray:
    """The matrix of a factor's effects, from those of its bars' columns."""
    parts = []
    for bar, own in zip(bars, maps, strict=True):
        parts += [np.eye(1), own] if bar.has_intercept else [own]
    rows, columns = np.sum([part.shape for part in parts], axis=0)
    found = np.zeros((rows, columns))
    row = column = 0
    for part in parts:
        found[row : row + part.shape[0], column : column + part.shape[1]] = part
        row, column = row + part.shape[0], column + part.shape[1]
    return found


def _checksum(a: int | None, b: int | None, sign: int) -> int | None:
    return None if a is None or b is None else (a + sign * b) % 2**64


def means_the_same(formula: str | None, other: str | None) -> bool:
    """Whether two formulas differ only in how they are written."""
    if formula == other or formula is None or other is None:
        return formula == other
    return replace(parse(formula), text="") == replace(parse(other), text="")


def differences(a: Summed, b: Summed) -> str:
    """Why two statistics do not belong to the same model, and what to do; empty if they do."""
    if (a.family.name, a.family.link.name) != (b.family.name, b.family.link.name):
        return f"one has family {a.family.name!r}, the other {b.family.name!r}."
    if not means_the_same(a.spec.formula, b.spec.formula):
        return f"one has the formula {a.spec.formula!r}, the other {b.spec.formula!r}."
    for mine, theirs in zip(a.spec.parts, b.spec.parts, strict=True):
        if mine == theirs:
            continue
        for term, other in zip(mine.terms, theirs.terms, strict=False):
            for c, d in zip(term, other, strict=False):
                if c != d:
                    return _different(c, d)
        return f"one has columns {quoted(mine.names)}, the other {quoted(theirs.names)}."
    return ""


def _different(c: Component, d: Component) -> str:
    """How two components of a term at the same place differ, and what to do."""
    if c.name == d.name and c.kind != d.kind:
        return (
            f"{c.name!r} is {c.kind} in one and {d.kind} in the other. Convert the column to one type, or write "
            f"C({c.name}) if it is a category."
        )
    if c.levels != d.levels:
        return (
            f"the category {c.name!r} has levels {quoted(c.levels or ())} in one and {quoted(d.levels or ())} in the "
            f"other. State all of them, categories={{{c.variables[0]!r}: [...]}}, or pass the other statistics as "
            "like=."
        )
    return (
        f"{c.name!r} has learned different values from the rows of each. Pass the other statistics as like=, so that "
        "one part's values are used for all."
    )
