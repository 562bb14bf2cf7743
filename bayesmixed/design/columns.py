"""The numeric columns that a formula without bars defines: learned once, plain data, evaluated on any frame.

The training frame is evaluated by the same code as any other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cached_property, reduce
from typing import Any

import numpy as np
import pandas as pd

from bayesmixed.design.table import Table
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.formula.terms import (
    FORMULAE_VERSION,
    Component,
    beyond_knots,
    calls_that_learn,
    evaluate_call,
    learn_terms,
    plain_level,
    refuse_same_names,
    restore_calls,
)

State = dict[str, Any]


class UnknownLevelsError(FormulaError):
    """A category has levels for which there are no columns.

    Attributes
    ----------
    component : Component
    unknown : list
        The levels.
    """

    def __init__(self, component: Component, unknown: list[Any]) -> None:
        self.component, self.unknown = component, unknown
        cure = self.other_type or (
            "A common effect cannot be predicted for a new level; if its levels are a sample from a population, make "
            f"it a group effect, (1 | {component.name})."
        )
        super().__init__(
            f"{component.name!r} has levels not seen in fit: {quoted(unknown)} (known levels: "
            f"{quoted(component.levels or ())}). {cure}"
        )

    @property
    def other_type(self) -> str:
        """What to do if no unknown level has the type of a known one; empty otherwise."""
        known, found = (sorted(set(map(_type, levels))) for levels in (self.component.levels or (), self.unknown))
        if {*known} & {*found}:
            return ""
        return f"Known are {' and '.join(known)}, these are {' and '.join(found)}: convert the column to one type."


@dataclass(frozen=True)
class ColumnsSpec:
    """What a formula without bars means, as learned from training data.

    Attributes
    ----------
    text : str or None
        The formula; ``None`` if the columns are taken as they are.
    has_intercept : bool
    terms : tuple of tuple of Component
        One per term without the intercept, in design order; an offset is a term of its own.
    variables : tuple of str
        The columns of the data that it uses.
    formulae_version : str
        The version that learned the state.
    """

    text: str | None
    has_intercept: bool
    terms: tuple[tuple[Component, ...], ...]
    variables: tuple[str, ...]
    formulae_version: str = FORMULAE_VERSION

    @classmethod
    def learn(
        cls, text: str, variables: tuple[str, ...], table: Table, counts: np.ndarray | None = None
    ) -> ColumnsSpec:
        """Learn from training data.

        Parameters
        ----------
        text : str
            One-sided formula without bars, as written by `bayesmixed.formula.parse`.
        variables : tuple of str
            The columns that it uses.
        table : Table of n rows
        counts : numpy.ndarray of int, shape (n,), optional
            How often each row counts. Transformations such as ``scale`` and ``bs`` learn from the repeated rows.
        """
        frame = table.frame(variables, learning=True)
        if not re.search(r"[({]", text):
            frame = _one_of_each(frame)
        if counts is not None and "(" in text:
            frame = frame.iloc[np.repeat(np.arange(len(frame)), counts)].reset_index(drop=True)
        has_intercept, terms = learn_terms(text, _with_every_category(text, frame))
        spec = cls(text, has_intercept, tuple(terms), tuple(variables))
        refuse_same_names([*spec.names], text)
        return spec

    @classmethod
    def plain(cls, names: list[str]) -> ColumnsSpec:
        """Take columns as they are, with an intercept."""
        terms = tuple((Component(name, "numeric", False, (name,), variables=(name,)),) for name in names)
        return cls(None, True, terms, tuple(names))

    @property
    def names(self) -> tuple[str, ...]:
        """Label of each design column, without the intercept and offsets."""
        return tuple(label for term in self.terms for label in _labels(term))

    @property
    def term_of_name(self) -> tuple[str, ...]:
        """Name of the term to which each design column belongs."""
        return tuple(":".join(c.name for c in term) for term in self.terms for _ in _labels(term))

    @cached_property
    def contains(self) -> tuple[tuple[int, ...], ...]:
        """Positions of the columns that each column contains, apart from the intercept.

        Column j contains column l when the variables of l's term are among those of j's term, and l's term is
        earlier: it has fewer variables, or the same ones but is a product of bare columns, or is written first.
        Columns of one term do not contain each other, except for the powers of a ``poly``: the lower ones are earlier.
        """
        used = [frozenset(name for component in term for name in component.variables) for term in self.terms]
        is_call = [any(component.is_call for component in term) for term in self.terms]
        ends = np.cumsum([0, *(len(_labels(term)) for term in self.terms)]).tolist()
        by_variables: dict[frozenset[str], list[int]] = {}
        for t in sorted(range(len(used)), key=lambda t: (is_call[t], t)):
            by_variables.setdefault(used[t], []).append(t)
        found: list[tuple[int, ...]] = []
        for t, names in enumerate(used):
            alike = by_variables[names]
            inside = [s for fewer, terms in by_variables.items() if fewer < names for s in terms]
            earlier = sorted([*inside, *alike[: alike.index(t)]])
            columns = tuple(at for s in earlier for at in range(ends[s], ends[s + 1]))
            lower = _lower_powers(self.terms[t]) if ends[t] < ends[t + 1] else []
            found += [(*columns, *(ends[t] + at for at in own)) for own in lower]
        return tuple(found)

    @property
    def labels_of_terms(self) -> dict[frozenset[str], list[str]]:
        """Labels of the columns of each term, by the names of its components, in the order of the formula."""
        return {frozenset(c.name for c in term): _labels(term) for term in self.terms}

    def evaluate(self, table: Table) -> tuple[np.ndarray, np.ndarray | None]:
        """Evaluate on any data.

        Parameters
        ----------
        table : Table of n rows

        Returns
        -------
        X : numpy.ndarray of shape (n, p)
            In the order of `names`, without intercept.
        offset : numpy.ndarray of shape (n,), or None
            Sum of the offset terms; None without one.
        """
        n_rows, offset = table.n_rows, None
        blocks = [np.empty((n_rows, 0))]
        if n_rows == 0:  # transforms cannot handle empty input
            has_offset = any(term[0].kind == "offset" for term in self.terms)
            return np.empty((0, len(self.names))), np.empty(0) if has_offset else None
        frame = table.frame(self.variables if self._calls else ())
        for term in self.terms:
            # row-wise Kronecker product of the components
            block = reduce(_interact, [self._values(component, table, frame) for component in term])
            if not np.isfinite(block).all():
                name = ":".join(component.name for component in term)
                rows = np.count_nonzero(~np.isfinite(block).all(axis=1))
                raise FormulaError(
                    f"term {name!r} is NaN or infinite in {rows} of {n_rows} rows; check the function's domain, "
                    "for example log of zero."
                )
            if term[0].kind == "offset":
                offset = block[:, 0] if offset is None else offset + block[:, 0]
            else:
                blocks.append(block)
        return np.concatenate(blocks, axis=1), offset

    def occurrences(self, table: Table) -> dict[str, np.ndarray]:
        """Number of rows with each level, int (n_levels,), by categoric component."""
        found: dict[str, np.ndarray] = {}
        for component in (component for term in self.terms for component in term if component.kind == "categoric"):
            if component.name not in found and table.n_rows:
                name = component.name
                frame = table.frame(self.variables if component.is_call else ())
                values = evaluate_call(self._calls[name], name, frame) if component.is_call else table.values(name)
                codes, _ = _codes(component, np.asarray(values))
                found[name] = np.bincount(codes, minlength=len(component.levels or ()))
        return found

    def beyond_knots(self, table: Table) -> list[tuple[str, float, float, int]]:
        """For each spline that is evaluated beyond its boundary knots: its text, the knots, the number of such rows."""
        if table.n_rows == 0 or "bs(" not in (self.text or ""):
            return []
        frame = table.frame(self.variables)
        return [found for call in self._calls.values() for found in beyond_knots(call, frame)]

    def _values(self, component: Component, table: Table, frame: pd.DataFrame) -> np.ndarray:
        """Design columns of one component, shape (n, number of labels)."""
        name = component.name
        values = np.asarray(evaluate_call(self._calls[name], name, frame) if component.is_call else table.values(name))
        if component.kind == "categoric":
            return _contrast(component, values)
        if values.dtype.kind not in "biuf":
            was = "boolean" if component.kind == "boolean" else "a number"
            raise FormulaError(f"{name!r} was {was} in fit but is text now; convert the column.")
        values = values.astype(float)
        if component.kind == "boolean" and (other := values[~np.isin(values, (0, 1))]).size:
            raise FormulaError(
                f"{name!r} was boolean in fit but has numbers other than 0 and 1 now, such as {other[0]:g}; make it "
                "boolean, or 0 and 1."
            )
        return values if values.ndim == 2 else values[:, None]

    @cached_property
    def _calls(self) -> dict[str, Any]:
        components = [component for term in self.terms for component in term]
        return restore_calls(self.text or "", components, self.formulae_version)

    def __getstate__(self) -> State:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def state(self) -> State:
        """Plain data for JSON, in which floats survive bit for bit."""
        terms = [[{**component.__dict__} for component in term] for term in self.terms]
        return {
            "text": self.text,
            "has_intercept": self.has_intercept,
            "terms": terms,
            "variables": list(self.variables),
            "formulae_version": self.formulae_version,
        }

    @classmethod
    def from_state(cls, state: State) -> ColumnsSpec:
        """Inverse of `state`."""
        terms = tuple(tuple(Component(**_tuples(c)) for c in term) for term in state["terms"])
        spec = cls(state["text"], state["has_intercept"], terms, tuple(state["variables"]), state["formulae_version"])
        _ = spec._calls  # a state that this version of formulae does not support fails here, not in predict
        return spec


def _one_of_each(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows that show every category: all that a formula without calls can learn from."""
    rows = [np.arange(min(len(frame), 1))]
    for _, column in frame.items():
        if column.dtype.kind != "f":
            rows.append(np.flatnonzero(~column.duplicated()))
    return frame.iloc[np.unique(np.concatenate(rows))].reset_index(drop=True)


def _with_every_category(text: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Add a row for each category that no row has, if calls such as ``C(k)`` learn categories only from rows.

    Raises
    ------
    FormulaError
        Other calls would learn from these rows too.
    """
    if not re.search(r"\b[CST]\(", text):
        return frame
    more = []
    for name in frame.select_dtypes("category"):
        categories, shown = frame[name].cat.categories, set(frame[name])
        codes = [at for at, label in enumerate(categories) if label not in shown]
        for at in codes:
            one = pd.Categorical.from_codes([at], categories=categories, ordered=True)
            more.append(frame.head(1).assign(**{str(name): one}))
    if more and (found := calls_that_learn(text)):
        raise FormulaError(f"{quoted(found)} cannot learn next to a call of categories that no row has; drop these.")
    return pd.concat([frame, *more], ignore_index=True)


def _labels(term: tuple[Component, ...]) -> list[str]:
    """Labels of a term's columns: the last component varies fastest, as in `_interact`."""
    if term[0].kind == "offset":
        return []
    return reduce(lambda left, right: [f"{a}:{b}" for a in left for b in right], [list(c.labels) for c in term])


def _lower_powers(term: tuple[Component, ...]) -> list[list[int]]:
    """Per column of a term, those that differ from it only by lower powers of a ``poly``."""
    is_poly = np.array([component.name.startswith("poly(") for component in term])
    if not is_poly.any():  # all pairs of columns are compared below: a category may have thousands
        return [[] for _ in _labels(term)]
    places = np.indices([len(component.labels) for component in term]).reshape(len(term), -1).T
    differs = places[:, None] - places[None]  # column i from column j; the last component varies fastest
    lower = np.where(is_poly, differs >= 0, differs == 0).all(axis=2) & differs.any(axis=2)
    return [np.flatnonzero(row).tolist() for row in np.asarray(lower)]


def _interact(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left[:, :, None] * right[:, None, :]).reshape(len(left), left.shape[1] * right.shape[1])


def _contrast(component: Component, values: np.ndarray) -> np.ndarray:
    codes, unknown = _codes(component, values)
    if len(unknown):
        raise UnknownLevelsError(component, list(map(plain_level, unknown)))
    return np.array(component.contrasts)[codes]


def _type(level: Any) -> str:
    return "booleans" if isinstance(level, bool) else "texts" if isinstance(level, str) else "numbers"


def _codes(component: Component, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of values among the levels of a component, -1 for others, and these others."""
    place, distinct = pd.factorize(values)
    known = pd.Index(list(component.levels or ())).get_indexer(pd.Index(distinct))
    return known[place], distinct[known < 0]


def _tuples(state: State) -> State:
    """Turn JSON's lists back into the tuples of `Component`."""
    contrasts = state["contrasts"]
    return {
        **state,
        "labels": tuple(state["labels"]),
        "levels": None if state["levels"] is None else tuple(state["levels"]),
        "contrasts": None if contrasts is None else tuple(tuple(row) for row in contrasts),
        "transforms": tuple(state["transforms"]),
        "variables": tuple(state["variables"]),
    }
