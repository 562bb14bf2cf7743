"""The numeric columns that a formula without bars gives: learned once, plain data, evaluated on any frame.

This is the only module that knows formulae. formulae parses the text, chooses the contrasts and learns the
state of transforms (means, knots); what it learned is copied into `ColumnsSpec`, from which every frame, the
training one included, is evaluated by the same code.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any

import formulae
import numpy as np
import pandas as pd
from formulae.categorical import ENCODINGS as _FORMULAE_ENCODINGS
from formulae.categorical import CategoricalBox
from formulae.environment import Environment
from formulae.model_description import model_description
from formulae.terms import Call, Intercept
from formulae.transforms import TRANSFORMS as _FORMULAE_TRANSFORMS

from bayesmixed._tokens import ENCODINGS, NUMERIC_FUNCTIONS, TRANSFORMS
from bayesmixed.errors import FormulaError, quoted

State = dict[str, Any]

# All that a formula can reach. formulae is handed this dict and never a module.
_NAMESPACE: dict[str, Any] = {
    **{name: getattr(np, name) for name in NUMERIC_FUNCTIONS},
    **{name: _FORMULAE_TRANSFORMS[name] for name in TRANSFORMS},
    **{name: _FORMULAE_ENCODINGS[name] for name in ENCODINGS},
}


@dataclass(frozen=True)
class Component:
    """One variable or call in a term; a term is the product of its components.

    Attributes
    ----------
    name : str
        The column's name, or the call's text.
    kind : str
        "numeric", "categoric" or "offset".
    is_call : bool
        Whether formulae evaluates it; otherwise it is a column.
    labels : tuple of str
        Label of each design column, e.g. ``("k[b]", "k[c]")``.
    levels : tuple or None
        Known levels of a categoric component.
    contrasts : tuple of tuple of float, or None
        Row of the design for each level.
    transforms : tuple of dict
        Learned state of each stateful transform in the call, in the order of the call's text.
    """

    name: str
    kind: str
    is_call: bool
    labels: tuple[str, ...]
    levels: tuple[Any, ...] | None = None
    contrasts: tuple[tuple[float, ...], ...] | None = None
    transforms: tuple[State, ...] = ()


@dataclass(frozen=True)
class ColumnsSpec:
    """What a formula without bars means, as learned from training data.

    Attributes
    ----------
    text : str or None
        The formula; ``None`` when the columns are taken as they are.
    has_intercept : bool
    terms : tuple of tuple of Component
        One per term without the intercept, in design order; an offset is a term of its own.
    variables : tuple of str
        The columns of the data it uses.
    formulae_version : str
        The version that learned the state.
    """

    text: str | None
    has_intercept: bool
    terms: tuple[tuple[Component, ...], ...]
    variables: tuple[str, ...]
    formulae_version: str = field(default=formulae.__version__)

    @classmethod
    def learn(cls, text: str, frame: pd.DataFrame) -> ColumnsSpec:
        """Learn from training data.

        Parameters
        ----------
        text : str
            One-sided formula without bars, as `bayesmixed.formula` writes it.
        frame : DataFrame of shape (n, k)
            Columns as `read_columns` gives them with ``learning=True``.
        """
        try:
            model = model_description(text)
            _refuse_same_names([term.name for term in model.common_terms], text)
            calls = [component for component in model.common_components if isinstance(component, Call)]
            distinct = [call for i, call in enumerate(calls) if call not in calls[:i]]
            _refuse_same_names([call.name for call in distinct], text)
            for term in model.common_terms:  # 'k/x' shares one object between k and k:x, whose contrasts differ
                if not isinstance(term, Intercept):
                    term.components = deepcopy(term.components)
            with np.errstate(all="ignore"):
                model.eval(frame, Environment([_NAMESPACE]))
        except FormulaError:
            raise
        except Exception as error:
            raise FormulaError(f"cannot evaluate {text!r}: {type(error).__name__}: {error}") from error
        terms = [term for term in model.common_terms if not isinstance(term, Intercept)]
        has_intercept = len(terms) < len(model.common_terms)
        spec = cls(
            text, has_intercept, tuple(tuple(map(_learned, term.components)) for term in terms), tuple(frame.columns)
        )
        _refuse_same_names([*spec.names], text)
        return spec

    @classmethod
    def plain(cls, names: list[str]) -> ColumnsSpec:
        """Take columns as they are, with an intercept."""
        return cls(None, True, tuple((Component(name, "numeric", False, (name,)),) for name in names), tuple(names))

    @property
    def names(self) -> tuple[str, ...]:
        """Label of each design column, without the intercept and offsets."""
        return tuple(label for term in self.terms for label in _labels(term))

    @property
    def term_of_name(self) -> tuple[str, ...]:
        """Name of the term each design column belongs to."""
        return tuple(":".join(c.name for c in term) for term in self.terms for _ in _labels(term))

    def evaluate(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray | None]:
        """Evaluate on any data.

        Parameters
        ----------
        frame : DataFrame of shape (n, k)
            Columns as `read_columns` gives them.

        Returns
        -------
        X : numpy.ndarray of shape (n, p)
            In the order of `names`, without intercept.
        offset : numpy.ndarray of shape (n,), or None
            Sum of the offset terms; None without one.
        """
        blocks, offset = [np.empty((len(frame), 0))], None
        for term in self.terms:
            # row-wise Kronecker product of the components
            block = reduce(_interact, [self._values(component, frame) for component in term])
            if not np.isfinite(block).all():
                name = ":".join(component.name for component in term)
                rows = np.count_nonzero(~np.isfinite(block).all(axis=1))
                raise FormulaError(
                    f"term {name!r} is NaN or infinite in {rows} of {len(frame)} rows; check the function's domain, "
                    "for example log of zero."
                )
            if term[0].kind == "offset":
                offset = block[:, 0] if offset is None else offset + block[:, 0]
            else:
                blocks.append(block)
        return np.concatenate(blocks, axis=1), offset

    def _values(self, component: Component, frame: pd.DataFrame) -> np.ndarray:
        """Design columns of one component, shape (n, number of labels)."""
        values = frame[component.name] if not component.is_call else self._call(component, frame)
        if component.kind == "categoric":
            return _contrast(component, values)
        if component.kind == "offset":
            values.set_size(len(frame))
            values = values.eval()
        block = np.asarray(values, dtype=float)
        return block if block.ndim == 2 else block[:, None]

    def _call(self, component: Component, frame: pd.DataFrame) -> Any:
        try:
            with np.errstate(all="ignore"):
                return self._calls[component.name].eval(frame, Environment([_NAMESPACE]))
        except Exception as error:
            raise FormulaError(f"cannot evaluate {component.name!r}: {type(error).__name__}: {error}") from error

    @cached_property
    def _calls(self) -> dict[str, Any]:
        """Formulae's call objects, read from the text again and given the learned state."""
        learned = {component.name: component for term in self.terms for component in term if component.is_call}
        if not learned:
            return {}
        if formulae.__version__ != self.formulae_version and any(
            name.startswith("bs(") or "(bs(" in name for name in learned
        ):
            _refuse_other_splines(self.formulae_version)
        calls = {}
        for component in model_description(self.text).common_components:
            if isinstance(component, Call) and component.name in learned:
                _restore(component.call, list(learned[component.name].transforms))
                calls[component.name] = component.call
        return calls

    def __getstate__(self) -> State:
        return {name: value for name, value in self.__dict__.items() if name != "_calls"}

    @property
    def state(self) -> State:
        """Plain data for JSON; floats survive it bit for bit."""
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
        _ = spec._calls  # a state that this formulae cannot serve is refused here, not at the first prediction
        return spec


def _learned(component: Any) -> Component:
    """Copy what formulae learned about a component into plain data."""
    is_call = isinstance(component, Call)
    levels = contrasts = None
    if component.kind == "categoric":
        levels = tuple(level.item() if hasattr(level, "item") else level for level in component.levels)
        if len(levels) < 2:
            raise FormulaError(f"{component.name!r} has a single level, {levels[0]!r}; drop it from the formula.")
        contrasts = tuple(tuple(map(float, row)) for row in component.contrast_matrix.matrix)
    transforms = tuple(map(_encode, _stateful(component.call))) if is_call else ()
    return Component(component.name, component.kind, is_call, tuple(component.labels), levels, contrasts, transforms)


def _labels(term: tuple[Component, ...]) -> list[str]:
    """Labels of a term's columns: the last component varies fastest, as in `_interact`."""
    if term[0].kind == "offset":
        return []
    return reduce(lambda left, right: [f"{a}:{b}" for a in left for b in right], [list(c.labels) for c in term])


def _interact(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left[:, :, None] * right[:, None, :]).reshape(len(left), -1)


def _contrast(component: Component, values: Any) -> np.ndarray:
    if isinstance(values, CategoricalBox):
        values = values.data
    codes = pd.Index(list(component.levels or ())).get_indexer(pd.Index(np.asarray(values)))
    if np.any(codes < 0):
        unknown = pd.unique(np.asarray(values)[codes < 0])
        raise FormulaError(
            f"{component.name!r} has levels not seen in fit: {quoted(unknown)} (known levels: "
            f"{quoted(component.levels or ())}). A common effect cannot be predicted for a new level; if its levels "
            f"are a sample from a population, make it a group effect, (1 | {component.name})."
        )
    return np.array(component.contrasts)[codes]


def _stateful(node: Any) -> list[Any]:
    """The stateful transforms inside a lazy call, depth first."""
    found = [node.stateful_transform] if getattr(node, "stateful_transform", None) is not None else []
    children = [*getattr(node, "args", ()), *getattr(node, "kwargs", {}).values()]
    return found + [transform for child in children for transform in _stateful(child)]


def _restore(node: Any, states: list[State]) -> None:
    """Give the stateful transforms inside a lazy call their learned state, in the order of `_stateful`."""
    if callee := getattr(node, "callee", None):
        transform = _NAMESPACE[callee]
        if getattr(transform, "__stateful_transform__", False):
            node.stateful_transform = transform()
            node.stateful_transform.__dict__.update(_decode(states.pop(0)))
    for child in [*getattr(node, "args", ()), *getattr(node, "kwargs", {}).values()]:
        _restore(child, states)


def _encode(transform: Any) -> State:
    """A transform's attributes as plain data: arrays and dicts with integer keys are tagged."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, np.ndarray):
            return {"array": value.tolist()}
        if isinstance(value, dict):
            return {"items": [[plain(k), plain(v)] for k, v in value.items()]}
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise FormulaError(f"{type(transform).__name__} keeps a {type(value).__name__}, which cannot be stored.")

    return {name: plain(value) for name, value in vars(transform).items()}


def _decode(state: State) -> State:
    def value_of(plain: Any) -> Any:
        if isinstance(plain, dict) and "array" in plain:
            return np.array(plain["array"])
        if isinstance(plain, dict):
            return {value_of(k): value_of(v) for k, v in plain["items"]}
        return plain

    return {name: value_of(plain) for name, plain in state.items()}


def _tuples(state: State) -> State:
    """JSON's lists back to the tuples of `Component`."""
    contrasts = state["contrasts"]
    return {
        **state,
        "labels": tuple(state["labels"]),
        "levels": None if state["levels"] is None else tuple(state["levels"]),
        "contrasts": None if contrasts is None else tuple(tuple(row) for row in contrasts),
        "transforms": tuple(state["transforms"]),
    }


def _refuse_same_names(names: list[str], text: str) -> None:
    # formulae names {(x + 1) * 2} and {x + 1 * 2} alike and would keep one of them
    if twice := {name for name in names if names.count(name) > 1}:
        raise FormulaError(
            f"{text!r}: two terms have the name {quoted(sorted(twice))}; compute one of them as a column of X."
        )


def _refuse_other_splines(version: str) -> None:
    def era(text: str) -> bool:
        return tuple(map(int, text.split(".")[:2])) >= (0, 8)

    if era(version) != era(formulae.__version__):
        raise FormulaError(
            f"the spline basis bs() was learned with formulae {version} and means something else in formulae "
            f"{formulae.__version__} (it changed in 0.8); fit again, or install the other version."
        )
