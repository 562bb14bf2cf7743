"""What is wrong with a call, in the user's terms: messages of formulae are about its own internals.

Calls are formulae's lazy nodes: a call has a ``callee``, ``args`` and ``kwargs``, an operator a ``symbol`` and
``args``, a column a ``name``, and a constant a ``value``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bayesmixed.errors import FormulaError, quoted
from bayesmixed.formula.tokens import LIST, NUMERIC_FUNCTIONS

Evaluate = Callable[[Any], Any]

_OF_NUMBERS = (*NUMERIC_FUNCTIONS, "bs", "center", "offset", "poly", "scale", "standardize")
_USAGE = {
    "C": "C(k), C(k, Sum), C(k, Treatment) or C(k, Treatment('reference'))",
    "S": "S(k) or S(k, 'omitted')",
    "T": "T(k) or T(k, 'reference')",
    "bs": "bs(x, df=4), bs(x, df=4, degree=2) or bs(x, knots=[2, 5])",
    "poly": "poly(x, 2) or poly(x, 2, raw=True)",
    "maximum": "maximum(x, z)",
    "minimum": "minimum(x, z)",
}


def check_call(node: Any, frame: pd.DataFrame, functions: Mapping[str, Any], evaluate: Evaluate) -> None:
    """Reject a call that cannot be learned from the columns of a frame.

    Parameters
    ----------
    node
        A lazy call.
    frame : DataFrame of shape (n, k)
        Numbers, booleans and text; categories that have an order as a Categorical.
    functions : mapping of str
        The functions that calls may use, by name.
    evaluate : callable
        Returns the values of a node on the frame.

    Raises
    ------
    FormulaError
    """
    if not variables(node) and getattr(node, "callee", "") != "offset":
        raise _cannot(node, "it does not use any column.")
    _check_nodes(node, frame, functions, evaluate)


def _check_nodes(node: Any, frame: pd.DataFrame, functions: Mapping[str, Any], evaluate: Evaluate) -> None:
    for child in _children(node):
        _check_nodes(child, frame, functions, evaluate)
    name = getattr(node, "callee", "")
    given = _arguments(node, functions[name]) if name else {}
    _check_kind(node, frame)
    if name == "bs":
        _check_spline(node, given, inspect.signature(functions[name].__call__).parameters, evaluate)
    elif name == "poly":
        _check_polynomial(node, given, evaluate)
    elif name in ("C", "S", "T"):
        _check_reference(node, given, evaluate)


def check_kinds(node: Any, frame: pd.DataFrame) -> None:
    """Reject text in arithmetic; to be called for rows on which a call has failed.

    Raises
    ------
    FormulaError
    """
    for child in _children(node):
        check_kinds(child, frame)
    _check_kind(node, frame)


def _check_kind(node: Any, frame: pd.DataFrame) -> None:
    name, symbol = getattr(node, "callee", ""), getattr(node, "symbol", "")
    numbers = list(node.args) if name in NUMERIC_FUNCTIONS else list(node.args[:1]) if name in _OF_NUMBERS else []
    if wrong := [arg for arg in numbers if _kind(arg, frame) != "number"]:
        raise _cannot(
            node,
            f"{_described(wrong[0], frame)}, but {name}() takes numbers. Convert the column (pd.to_numeric), or use it "
            "without the function.",
        )
    if not symbol or symbol in ("==", "!="):
        return
    kinds = [_kind(arg, frame) for arg in node.args]
    joined = symbol == "+" and set(kinds) == {"text"}  # two texts are concatenated
    if symbol in ("<", "<=", ">", ">="):
        if {"text", "number"} <= set(kinds):
            text = node.args[kinds.index("text")]
            raise _cannot(node, f"{_described(text, frame)}, which cannot be compared to numbers; convert the column.")
    elif set(kinds) != {"number"} and not joined:
        odd = next(arg for arg, kind in zip(node.args, kinds, strict=True) if kind != "number")
        raise _cannot(
            node, f"{_described(odd, frame)}, which cannot be used in arithmetic. Convert the column (pd.to_numeric)."
        )


def _kind(node: Any, frame: pd.DataFrame) -> str:
    """Kind of a node's values: number, text or category."""
    if hasattr(node, "callee"):
        if node.callee in ("C", "S", "T"):
            return "category"
        return _kind(node.args[0], frame) if node.callee == "I" and node.args else "number"
    if hasattr(node, "symbol"):
        numbers = node.symbol != "+" or any(_kind(arg, frame) == "number" for arg in node.args)
        return "number" if numbers else "text"
    if hasattr(node, "value"):
        return "text" if isinstance(node.value, str) else "number"
    dtype = frame[node.name].dtype if node.name in frame else np.dtype(float)
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    return "number" if pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype) else "text"


def _described(node: Any, frame: pd.DataFrame) -> str:
    """Describe the values of a node that is not numeric."""
    if hasattr(node, "value"):
        return f"{node.value!r} is text"
    held = {"text": "text", "category": "categories"}[_kind(node, frame)]
    return f"{str(node)!r} holds {held}"


def _arguments(node: Any, function: Any) -> dict[str, Any]:
    """The arguments of a call, keyed by the function's parameters."""
    try:
        if isinstance(function, np.ufunc):
            if node.kwargs or len(node.args) != function.nin:
                raise TypeError
            return {}
        if isinstance(function, type):  # a stateful transform: its instances are called
            return inspect.signature(function.__call__).bind(None, *node.args, **node.kwargs).arguments
        return inspect.signature(function).bind(*node.args, **node.kwargs).arguments
    except TypeError:
        usage = _USAGE.get(node.callee, f"{node.callee}(x)")
        raise _cannot(node, f"{node.callee}() does not take these arguments; write {usage}.") from None


def _check_spline(node: Any, given: dict[str, Any], known: Mapping[str, Any], evaluate: Evaluate) -> None:
    if "intercept" in given and "center" in known:
        raise _cannot(node, "use center=False in place of 'intercept' for columns that add up to a constant.")
    if "knots" not in given and "df" not in given:
        raise _cannot(node, "give its number of columns, as in bs(x, df=4), or its inner knots, as in knots=[2, 5].")
    degree = _whole(node, given.get("degree"), "degree", 0, 3)
    whole_basis = _constant(given.get("center")) is False or bool(_constant(given.get("intercept")))
    if "df" in given:
        _whole(node, given["df"], "df", max(1, degree + whole_basis))
    low, high = _constant(given.get("lower_bound")), _constant(given.get("upper_bound"))
    for bound in (low, high):
        if bound is not None and (isinstance(bound, (str, bool)) or bound is _OF_DATA):
            raise _cannot(node, "its bounds have to be numbers.")
    if low is not None and high is not None and low >= high:
        raise _cannot(node, "lower_bound has to be below upper_bound.")
    if "knots" in given:
        _check_knots(node, given, (low, high), evaluate)


def _check_knots(node: Any, given: dict[str, Any], bounds: tuple[Any, Any], evaluate: Evaluate) -> None:
    """Check that inner knots are increasing numbers within the bounds and that df is not given as well."""
    if getattr(given["knots"], "callee", "") != LIST:
        raise _cannot(node, "knots has to be a list of numbers, as in knots=[2, 5].")
    if "df" in given:
        raise _cannot(node, "knots already determine the number of columns; leave out df.")
    low, high = (end if bound is None else bound for bound, end in zip(bounds, (-np.inf, np.inf), strict=True))
    if np.any(np.diff([low, *evaluate(given["knots"]), high]) <= 0):
        raise _cannot(node, "its knots have to increase and lie between its bounds.")


def list_of(*values: float) -> np.ndarray:
    """The function that a list of numbers in a formula calls."""
    return np.array(values, dtype=float)


def _check_polynomial(node: Any, given: dict[str, Any], evaluate: Evaluate) -> None:
    degree = _whole(node, given.get("degree"), "the degree", 1, 1)
    raw = _constant(given.get("raw"))
    if raw is not None and not isinstance(raw, bool):
        raise _cannot(node, "raw has to be True or False.")
    values = np.asarray(evaluate(given["x"]))
    distinct = len(np.unique(values[:1000])) if np.ndim(values) else 1
    if distinct <= degree:  # few among the first rows: count them all
        distinct = len(np.unique(values))
    if not raw and distinct <= degree:
        raise _cannot(
            node,
            f"{str(given['x'])!r} has {distinct} distinct values, but a polynomial of degree {degree} needs at least "
            f"{degree + 1}.",
        )


def _check_reference(node: Any, given: dict[str, Any], evaluate: Evaluate) -> None:
    """Check that the reference of a contrast, as in ``T(k, 'b')`` or ``C(k, Treatment('b'))``, is a level."""
    contrast: Any = given.get("contrast")
    inner = [*contrast.args, *contrast.kwargs.values()] if hasattr(contrast, "callee") else []
    named = [*inner, *(given[name] for name in ("ref", "omit") if name in given)]
    if "levels" in given or len(inner) > 1:
        raise _cannot(node, f"write {_USAGE[node.callee]}.")
    if not named or _constant(named[0]) is None:
        return
    reference, data = _constant(named[0]), given["data"]
    found: Any = evaluate(data)
    values = pd.Categorical(getattr(found, "data", found)).remove_unused_categories().categories.tolist()
    if reference not in values:
        levels = quoted(int(v) if isinstance(v, float) and v.is_integer() else v for v in values)
        shown = "the reference" if reference is _OF_DATA else repr(reference)
        raise _cannot(node, f"{shown} is not a level of {str(data)!r} (levels: {levels}).")


def _whole(node: Any, argument: Any, name: str, least: int, default: int = 0) -> int:
    """Value of an argument that must be a constant whole number."""
    value = default if argument is None else _constant(argument)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        shown = "a column" if value is _OF_DATA else repr(value)
        raise _cannot(node, f"{name} has to be a whole number of at least {least}, got {shown}.")
    return value


_OF_DATA = object()  # not a constant


def _constant(node: Any) -> Any:
    """The value of a constant; None for an argument that is not given."""
    if node is None:
        return None
    return _OF_DATA if variables(node) or hasattr(node, "callee") else node.eval(None, None)


def _children(node: Any) -> list[Any]:
    children = [*getattr(node, "args", ()), *getattr(node, "kwargs", {}).values()]
    # a contrast is not data
    return [child for child in children if getattr(child, "callee", "") not in ("Treatment", "Sum")]


def variables(node: Any) -> list[str]:
    """Names of the columns in a lazy node."""
    own = [node.name] if hasattr(node, "name") else []
    return own + [name for child in _children(node) for name in variables(child)]


def _cannot(node: Any, reason: str) -> FormulaError:
    return FormulaError(f"cannot evaluate {str(node)!r}: {reason}")
