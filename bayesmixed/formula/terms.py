"""Terms of a formula without bars, as read by formulae: contrasts, transforms and their learned state.

This is the only module that knows formulae. What formulae learns is copied into `Component`, plain data.
"""

from __future__ import annotations

import inspect
import re
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import formulae
import numpy as np
import pandas as pd
from formulae.categorical import ENCODINGS as _FORMULAE_ENCODINGS
from formulae.categorical import CategoricalBox
from formulae.environment import Environment
from formulae.expr import Binary
from formulae.model_description import model_description
from formulae.parser import Parser
from formulae.resolver import Resolver
from formulae.scanner import Scanner
from formulae.terms import Call, Intercept
from formulae.transforms import TRANSFORMS as _FORMULAE_TRANSFORMS
from formulae.transforms import Offset

from bayesmixed.errors import FormulaError, quoted
from bayesmixed.formula.calls import check_call, check_kinds, list_of
from bayesmixed.formula.tokens import ENCODINGS, LIST, NUMERIC_FUNCTIONS, TRANSFORMS

State = dict[str, Any]
FORMULAE_VERSION = formulae.__version__

# Everything a formula can reach: formulae is handed this dict and never a module.
_NAMESPACE: dict[str, Any] = {
    **{name: getattr(np, name) for name in NUMERIC_FUNCTIONS},
    **{name: _FORMULAE_TRANSFORMS[name] for name in TRANSFORMS},
    **{name: _FORMULAE_ENCODINGS[name] for name in ENCODINGS},
    LIST: list_of,
}

_CENTRED = "center" in inspect.signature(_NAMESPACE["bs"].__call__).parameters  # splines as in formulae 0.8 and later
# a spline that learns nothing from rows
FIXED_SPLINE = (
    "0 + bs(x, knots=[2, 5], lower_bound=0, upper_bound=9, center=False)"
    if _CENTRED
    else "bs(x, knots=[2, 5], lower_bound=0, upper_bound=9)"
)


@dataclass(frozen=True)
class Component:
    """One variable or call in a term; a term is the product of its components.

    Attributes
    ----------
    name : str
        The column's name, or the call's text.
    kind : str
        "numeric", "boolean" (a column, read as zeros and ones), "categoric" or "offset".
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
    variables : tuple of str
        The columns of the data that it uses.
    """

    name: str
    kind: str
    is_call: bool
    labels: tuple[str, ...]
    levels: tuple[Any, ...] | None = None
    contrasts: tuple[tuple[float, ...], ...] | None = None
    transforms: tuple[State, ...] = ()
    variables: tuple[str, ...] = ()


def learn_terms(text: str, frame: pd.DataFrame) -> tuple[bool, list[tuple[Component, ...]]]:
    """Let formulae read a text and learn its terms.

    Parameters
    ----------
    text : str
        One-sided formula without bars, as written by `bayesmixed.formula.parse`.
    frame : DataFrame of shape (n, k)
        Numbers, booleans and text; categories that have an order as an ordered Categorical.

    Returns
    -------
    has_intercept : bool
    terms : list of tuple of Component
        Without the intercept, in design order.
    """
    environment = Environment([_NAMESPACE])
    for call in read_calls(text) if re.search(r"[({]", text) else []:
        check_call(call, frame, _NAMESPACE, lambda node: evaluate(node, frame))
    try:
        model = model_description(text)
        _refuse_empty_removals(text)
        _refuse_same_calls(model, text)
        for term in model.common_terms:  # in 'k/x', k and k:x share one object although their contrasts differ
            if not isinstance(term, Intercept):
                term.components = deepcopy(term.components)
        with np.errstate(all="ignore"):
            written = _complete(model, frame, environment)
            model.eval(frame, environment)
    except FormulaError:
        raise
    except Exception:  # its messages are about its own internals
        for call in read_calls(text):
            evaluate(call, frame)
        raise FormulaError(
            f"cannot evaluate {text!r}: check the spelling of the terms and whether their columns are numbers or "
            "categories."
        ) from None
    terms = [term for term in _as_written(model.common_terms, written) if not isinstance(term, Intercept)]
    _refuse_misplaced(terms, frame)
    return len(terms) < len(model.common_terms), [tuple(_learned(c, frame) for c in term.components) for term in terms]


def restore_calls(text: str, components: list[Component], version: str) -> dict[str, Any]:
    """Read a text's calls again and give them their learned state; formulae's call objects by name."""
    learned = {component.name: component for component in components if component.is_call}
    if not learned:
        return {}
    if formulae.__version__ != version and any(re.search(r"\bbs\(", name) for name in learned):
        _refuse_other_splines(version)
    calls = {}
    for component in model_description(text).common_components:
        if isinstance(component, Call) and component.name in learned:
            _restore(component.call, list(learned[component.name].transforms))
            calls[component.name] = component.call
    return calls


def read_calls(text: str) -> list[Any]:
    """The lazy calls of a text, new ones."""
    try:
        components = model_description(text).common_components
    except Exception:
        _refuse_products_of_splines(text)
        raise FormulaError(
            f"cannot evaluate {text!r} as a sum of terms: an operator or a number is out of place, or a term is "
            "missing."
        ) from None
    return [component.call for component in components if isinstance(component, Call)]


def _refuse_products_of_splines(text: str) -> None:
    """Raise if a spline in a product is the reason: if the text can be read with another function in its place."""
    try:
        model_description(re.sub(r"\bbs\(", "center(", text))
    except Exception:
        return
    raise FormulaError(
        f"cannot evaluate {text!r}: a spline, bs(), cannot be multiplied by other terms. Add it; for one curve per "
        "level of 'k' write (bs(x, df=4) | k)."
    )


def evaluate(node: Any, frame: pd.DataFrame) -> Any:
    """Values of a part of a call."""
    try:
        with np.errstate(all="ignore"):
            return node.eval(frame, Environment([_NAMESPACE]))
    except Exception:
        raise FormulaError(f"cannot evaluate {str(node)!r}: check its arguments.") from None


def evaluate_call(call: Any, name: str, frame: pd.DataFrame) -> Any:
    """Values of a restored call: an array, or formulae's offset object; categories as an array of labels."""
    try:
        with np.errstate(all="ignore"):
            values = call.eval(frame, Environment([_NAMESPACE]))
    except Exception:
        check_kinds(call, frame)
        raise FormulaError(f"cannot evaluate {name!r} on these rows; check its columns.") from None
    if isinstance(values, CategoricalBox):
        return values.data
    if isinstance(values, Offset):
        values.set_size(len(frame))
        return values.eval()
    return values


def beyond_knots(call: Any, frame: pd.DataFrame) -> list[tuple[str, float, float, int]]:
    """For each spline in a restored call with rows beyond its boundary knots: its variable, the knots, the count."""
    found = []
    for node in (node for node in nodes(call) if getattr(node, "callee", "") == "bs"):
        of = node.args[0] if node.args else node.kwargs["x"]
        knots, values = _encode(node.stateful_transform)["knots"]["array"], np.asarray(evaluate(of, frame))
        low, high = min(knots), max(knots)
        slack = 1e-9 * (high - low)
        if rows := int(np.count_nonzero((values < low - slack) | (values > high + slack))):
            found.append((str(of), low, high, rows))
    return found


def calls_that_learn(text: str) -> list[str]:
    """The calls of a text whose values in one row depend on the other rows they were learned from."""
    calls = read_calls(text) if "(" in text else []
    return list(dict.fromkeys(str(node) for call in calls for node in nodes(call) if learns(node)))


def learns(node: Any) -> bool:
    """Whether the values of a lazy node in a row depend on other rows."""
    name = getattr(node, "callee", "")
    if name == "poly" and "raw" in node.kwargs:
        return not node.kwargs["raw"].eval(None, None)
    if name == "bs":
        given = inspect.signature(_NAMESPACE[name].__call__).bind(None, *node.args, **node.kwargs).arguments
        centred = _CENTRED and ("center" not in given or given["center"].eval(None, None))
        return centred or not {"knots", "lower_bound", "upper_bound"} <= set(given)
    return name in ("center", "poly", "scale", "standardize")


def is_stateful(node: Any) -> bool:
    """Whether a lazy node keeps what it has learned: what `Component.transforms` has a state of."""
    return getattr(_NAMESPACE.get(getattr(node, "callee", "")), "__stateful_transform__", False)


def nodes(node: Any) -> list[Any]:
    """A lazy node and all that are in it, itself first."""
    children = [*getattr(node, "args", ()), *getattr(node, "kwargs", {}).values()]
    return [node, *(inner for child in children for inner in nodes(child))]


def _learned(component: Any, frame: pd.DataFrame) -> Component:
    """Copy what formulae learned about a component into plain data."""
    is_call = isinstance(component, Call)
    transforms = tuple(map(_encode, _stateful(component.call))) if is_call else ()
    variables = tuple(sorted(component.var_names - {""}))  # formulae counts a literal as a nameless variable
    if component.kind != "categoric":
        kind = "boolean" if not is_call and frame[variables[0]].dtype == bool else component.kind
        labels = tuple(component.labels)
        return Component(component.name, kind, is_call, labels, transforms=transforms, variables=variables)
    levels = tuple(map(plain_level, component.levels))
    if len(levels) < 2:
        raise FormulaError(f"{component.name!r} has a single level, {levels[0]!r}; drop it from the formula.")
    text = {str(theirs): str(ours) for theirs, ours in zip(component.levels, levels, strict=True)}
    labels = tuple(f"{component.name}[{text.get(label, label)}]" for label in component.contrast_matrix.labels)
    contrasts = tuple(tuple(map(float, row)) for row in component.contrast_matrix.matrix)
    return Component(component.name, "categoric", is_call, labels, levels, contrasts, transforms, variables)


def plain_level(level: Any) -> Any:
    """A level as a Python value; an integer that was read as a float becomes an integer again."""
    value = level.item() if hasattr(level, "item") else level
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _stateful(node: Any) -> list[Any]:
    """The stateful transforms inside a lazy call, depth first."""
    found = [node.stateful_transform] if getattr(node, "stateful_transform", None) is not None else []
    children = [*getattr(node, "args", ()), *getattr(node, "kwargs", {}).values()]
    return found + [transform for child in children for transform in _stateful(child)]


def _restore(node: Any, states: list[State]) -> None:
    """Give the stateful transforms inside a lazy call their learned state, in the order of `_stateful`."""
    if is_stateful(node):
        node.stateful_transform = _NAMESPACE[node.callee]()
        own = vars(node.stateful_transform)
        own.update({f"_{name}" if f"_{name}" in own else name: v for name, v in _decode(states.pop(0)).items()})
    for child in [*getattr(node, "args", ()), *getattr(node, "kwargs", {}).values()]:
        _restore(child, states)


def _encode(transform: Any) -> State:
    """A transform's attributes, named without formulae's underscores; arrays and dicts with integer keys are tagged."""

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

    return {name.removeprefix("_"): plain(value) for name, value in vars(transform).items()}


def _decode(state: State) -> State:
    def value_of(plain: Any) -> Any:
        if isinstance(plain, dict) and "array" in plain:
            return np.array(plain["array"])
        if isinstance(plain, dict):
            return {value_of(k): value_of(v) for k, v in plain["items"]}
        return plain

    return {name: value_of(plain) for name, plain in state.items()}


def _complete(model: Any, frame: pd.DataFrame, environment: Environment) -> list[Any]:
    """Order the terms as R does and add what full rank requires, until nothing is missing.

    formulae stops after one round (``k:h:j`` alone would lose columns) and fails when an interaction comes
    before its margins. Returns the terms as they were written.
    """
    written = list(model.common_terms)
    model.set_types(frame, environment)
    while True:
        model.common_terms.sort(key=lambda term: len(getattr(term, "components", ())))
        encodings = model._get_encoding_bools()
        if all(len(encoding) <= 1 for encoding in encodings.values()):
            return written
        model.add_extra_terms(encodings, frame, environment)


def _as_written(terms: list[Any], written: list[Any]) -> list[Any]:
    """The terms in the order of the formula, with each added term before the one that needs it."""
    position = {id(term): i for i, term in enumerate(written)}
    runs: list[list[Any]] = [[]]
    for term in terms:
        runs[-1].append(term)
        if id(term) in position:
            runs.append([])
    return [term for run in sorted(runs[:-1], key=lambda run: position[id(run[-1])]) for term in run]


def _refuse_empty_removals(text: str) -> None:
    """Reject a '-' that removes nothing: formulae treats ``z:x`` and ``x:z`` as different terms."""
    expression = Parser(Scanner(text).scan()).parse()
    while isinstance(expression, Binary) and expression.operator.kind in ("PLUS", "MINUS"):
        if expression.operator.kind == "MINUS":
            left, right = Resolver(expression.left).resolve(), Resolver(expression.right).resolve()
            there = getattr(left, "common_terms", [left])
            for term in getattr(right, "common_terms", [right]):
                if hasattr(term, "components") and term not in there:
                    raise FormulaError(f"{text!r}: '- {term.name}' removes nothing; spell the term as it was added.")
        expression = expression.left


def _refuse_misplaced(terms: list[Any], frame: pd.DataFrame) -> None:
    for term in terms:
        if len(term.components) > 1 and any(component.kind == "offset" for component in term.components):
            raise FormulaError(f"term {term.name!r}: an offset cannot interact; compute the product inside it.")
        for component in term.components:
            if isinstance(component, Call) and (name := _ordered(component.call, frame)):
                raise FormulaError(
                    f"{component.name!r} compares the categories of {name!r}, which would compare them as text; "
                    "compute it as a column of X, or use '=='."
                )


def _ordered(node: Any, frame: pd.DataFrame) -> str | None:
    """The categorical column whose order a comparison inside a lazy call relies on."""
    children = [*getattr(node, "args", ()), *getattr(node, "kwargs", {}).values()]
    if getattr(node, "symbol", "") in ("<", "<=", ">", ">="):
        for child in children:
            if isinstance(frame.get(getattr(child, "name", None), pd.Series()).dtype, pd.CategoricalDtype):
                return str(child.name)
    return next((name for child in children if (name := _ordered(child, frame))), None)


def _refuse_same_calls(model: Any, text: str) -> None:
    refuse_same_names([term.name for term in model.common_terms], text)
    calls = [component for component in model.common_components if isinstance(component, Call)]
    refuse_same_names([call.name for i, call in enumerate(calls) if call not in calls[:i]], text)


def refuse_same_names(names: list[str], text: str) -> None:
    """Reject a formula in which two different things have the same name."""
    # formulae gives {(x + 1) * 2} and {x + 1 * 2} the same name and would keep one of them
    if twice := {name for name in names if names.count(name) > 1}:
        raise FormulaError(
            f"{text!r}: two different terms are called {quoted(sorted(twice))}; compute one of them as a column of X."
        )


def _refuse_other_splines(version: str) -> None:
    def era(text: str) -> bool:
        return tuple(map(int, text.split(".")[:2])) >= (0, 8)

    if era(version) != era(formulae.__version__):
        raise FormulaError(
            f"the spline basis bs() was learned with formulae {version} and means something else in formulae "
            f"{formulae.__version__} (it changed in 0.8); fit again, or install the other version."
        )
