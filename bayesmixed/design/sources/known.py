"""What must be known of all rows before columns can be built: a first pass over the columns that this takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bayesmixed.design.columns import ColumnsSpec
from bayesmixed.design.spec import DesignSpec
from bayesmixed.design.table import MAX_REPEATED, Table
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.formula.known import calls_not_told, calls_of_moments, columns_of_levels, told
from bayesmixed.formula.parse import ParsedFormula
from bayesmixed.formula.terms import evaluate

_ROUNDING = 1e-9  # of a mean, in standard deviations, and of these


@dataclass(frozen=True)
class Wanted:
    """What a first pass must find out.

    Attributes
    ----------
    levels : tuple of str
        Columns whose levels must be known.
    texts : tuple of str
        Parts of the formula, without bars, whose calls learn means and standard deviations.
    """

    levels: tuple[str, ...]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, parsed: ParsedFormula, frame: pd.DataFrame, stated: Mapping[str, Any]) -> Wanted:
        """What is neither known from the types of columns nor stated.

        Parameters
        ----------
        parsed : ParsedFormula
        frame : DataFrame
            Some rows.
        stated : dict of str
            Levels by column.
        """
        texts = parsed.texts
        said = {name for text in texts for name in columns_of_levels(text)}
        levels = []
        for name in parsed.of_effects:
            column = frame[name]
            if name not in stated and not isinstance(column.dtype, pd.CategoricalDtype):
                kind = Table.read(frame, (name,)).values(name).dtype.kind
                if kind == "O" or (kind == "f" and name in said):  # booleans are known
                    levels.append(name)
        return cls(tuple(levels), tuple(text for text in texts if calls_of_moments(text)))

    def __bool__(self) -> bool:
        return bool(self.levels or self.texts)

    @property
    def calls(self) -> dict[str, tuple[Any, tuple[str, ...]]]:
        """By text, the calls that learn a mean and standard deviation; see `calls_of_moments`."""
        return {name: call for text in self.texts for name, call in calls_of_moments(text).items()}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the pass reads."""
        return tuple(dict.fromkeys([*self.levels, *(name for _, names in self.calls.values() for name in names)]))

    @property
    def nothing(self) -> Known:
        """What an empty set of rows shows."""
        nowhere = Spread.of(np.empty(0), None)
        return Known(0, {name: {} for name in self.levels}, dict.fromkeys(self.calls, (nowhere, nowhere)))

    def find(self, frame: pd.DataFrame, weights: np.ndarray | None) -> Known:
        """Count and measure rows, all of which count.

        Raises
        ------
        FormulaError, ValueError
            As in `Table.read`; also for a function that is not finite in some rows.
        """
        if not len(frame):  # a column of objects would have no type
            return self.nothing
        table = Table.read(frame, self.columns)
        counts = {name: pd.Series(table.values(name)).value_counts(sort=False).to_dict() for name in self.levels}
        moments = {}
        for name, (node, columns) in self.calls.items():
            values = np.asarray(evaluate(node, table.frame(columns)), dtype=float)
            if bad := np.count_nonzero(~np.isfinite(values)):
                raise FormulaError(f"{name!r} is NaN or infinite in {bad} of {len(values)} rows; check its domain.")
            moments[name] = Spread.of(values, None), Spread.of(values, weights)
        whole = weights is None or bool(np.all(weights == np.floor(weights)))
        return Known(len(frame), counts, moments, whole)


@dataclass(frozen=True)
class Spread:
    """Weight, mean and sum of squares about the mean; they add up (Chan, Golub & LeVeque, 1983)."""

    weight: float
    mean: float
    squares: float

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray | None) -> Spread:
        """Measure values, shape (n,)."""
        if not len(values):
            return cls(0.0, 0.0, 0.0)
        mean = float(np.average(values, weights=weights))
        squares = np.square(values - mean)
        total = float(len(values) if weights is None else weights.sum())
        return cls(total, mean, float(squares.sum() if weights is None else weights @ squares))

    def __add__(self, other: Spread) -> Spread:
        if not (weight := self.weight + other.weight):
            return self
        apart = other.mean - self.mean
        share = other.weight / weight
        squares = self.squares + other.squares + apart**2 * self.weight * share
        return Spread(weight, self.mean + apart * share, squares)

    @property
    def sd(self) -> float:
        """With the weight as divisor."""
        return float(np.sqrt(self.squares / self.weight)) if self.weight else 0.0

    def is_near(self, other: Spread) -> bool:
        """Whether both come from the same values, up to rounding."""
        slack = _ROUNDING * (self.sd + other.sd + abs(self.mean))
        return abs(self.mean - other.mean) <= slack and abs(self.sd - other.sd) <= slack


@dataclass(frozen=True)
class Known:
    """What rows have shown; ``a + b`` is the same for both sets of rows together.

    Attributes
    ----------
    n_rows : int
        Number of rows that count.
    counts : dict of str to dict of level to int
        By column, how many rows have each level.
    moments : dict of str to (Spread, Spread)
        By the text of a call's argument: with each row counted once, and as often as its weight says.
    whole : bool
        Whether all weights are whole numbers.
    """

    n_rows: int
    counts: Mapping[str, Mapping[Any, int]]
    moments: Mapping[str, tuple[Spread, Spread]]
    whole: bool = True

    def __add__(self, other: Known) -> Known:
        counts = {name: dict(own) for name, own in self.counts.items()}
        for name, own in other.counts.items():
            for level, n in own.items():
                counts[name][level] = counts[name].get(level, 0) + n
            if len({isinstance(level, str) for level in counts[name]}) > 1:
                raise FormulaError(f"column {name!r} is text in one part and not in another; convert it to one type.")
        moments = {
            name: (once + other.moments[name][0], often + other.moments[name][1])
            for name, (once, often) in self.moments.items()
        }
        return Known(self.n_rows + other.n_rows, counts, moments, self.whole and other.whole)

    def refuse(self, again: Known) -> None:
        """Reject rows that differ from these when they are read again.

        Raises
        ------
        ValueError
        """
        found = f"{self.n_rows:,} rows, then {again.n_rows:,}" if self.n_rows != again.n_rows else ""
        for name, own in self.counts.items():
            if not found and own != again.counts[name]:
                found = f"rows of other levels of {name!r}"
        for name, (spread, _) in self.moments.items():
            if not found and not spread.is_near(again.moments[name][0]):
                found = f"{name!r} with mean {spread.mean:.6g}, then {again.moments[name][0].mean:.6g}"
        if found:
            raise ValueError(other_rows(found))

    def told(self, columns: ColumnsSpec) -> ColumnsSpec:
        """Columns whose calls have learned from these rows.

        As in a fit to a frame, each row counts as often as its weight says if weights are whole and not too large, and
        otherwise once.
        """
        if not columns.text or not self.moments:
            return columns
        moments = {}
        for name, (once, often) in self.moments.items():
            spread = often if self.whole and often.weight <= MAX_REPEATED else once
            moments[name] = spread.mean, spread.sd
        terms = (tuple(told(component, columns.text, moments) for component in term) for term in columns.terms)
        return replace(columns, terms=tuple(terms))


def learned(parsed: ParsedFormula, frame: pd.DataFrame, known: Known | None) -> DesignSpec:
    """Learn a design from some rows, and from what is known about all.

    Parameters
    ----------
    parsed : ParsedFormula
    frame : DataFrame
        At least one row, with stated levels as those of a Categorical.
    known : Known, optional
        About all rows. Default: there was nothing to find out.
    """
    counts = {} if known is None else known.counts
    more = [frame]
    for name in parsed.of_effects:
        values = Table.read(frame, (name,)).values(name)
        levels = [False, True] if values.dtype.kind == "b" else list(counts.get(name, ()))
        shown = set(values) if levels else set()
        if absent := [level for level in levels if level not in shown]:
            rows, dtype = frame.iloc[[0] * len(absent)], frame[name].dtype
            more.append(rows.assign(**{name: pd.Series(absent, rows.index, dtype=dtype)}))
    every = pd.concat(more, ignore_index=True)
    # evaluated with what is known of all rows: in these, a column that is scaled may be constant
    spec, _ = DesignSpec.learn_columns(parsed, DesignSpec.table_of(parsed, every, all_categories=True))
    if known is None:
        return spec
    groups = [replace(group, bars=tuple(map(known.told, group.bars))) for group in spec.groups]
    return replace(spec, common=known.told(spec.common), groups=tuple(groups))


def other_rows(found: str) -> str:
    """What is wrong with a source whose second pass differs, and what to do."""
    return (
        f"the source gave different rows when it was read again: {found}. A callable must return a new iterator over "
        "the same rows whenever it is called; files must not change while they are read."
    )


def not_told(parsed: ParsedFormula) -> list[str]:
    """The calls that learn more about all rows than a first pass finds out."""
    return list(dict.fromkeys(call for text in parsed.texts for call in calls_not_told(text)))


def refuse_unknown(wanted: Wanted) -> None:
    """Reject a source that can be read only once, if a first pass is needed.

    Raises
    ------
    FormulaError
        Says what to do.
    """
    if not wanted:
        return
    cures = ["pass a source that can be read again: files, a list, a callable that returns a new iterator"]
    if wanted.levels:
        stated = ", ".join(f"{name!r}: [...]" for name in wanted.levels)
        cures.insert(0, f"state them, categories={{{stated}}}, or make the column a Categorical with all categories")
    if wanted.texts:
        cures.insert(0, "compute the column with numbers that do not depend on the rows, or write it without the call")
    cure = "; or ".join(cures)
    what = [f"the levels of {quoted(wanted.levels)}"] if wanted.levels else []
    what += [f"mean and standard deviation of {quoted(wanted.calls)}"] if wanted.texts else []
    raise FormulaError(
        f"{' and '.join(what)} must be known before the first row is summed, and this source can be read only once. "
        f"{cure[0].upper()}{cure[1:]}."
    )
