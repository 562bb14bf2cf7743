"""What the calls of a formula learn of all rows, and may be told instead: levels, means, standard deviations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from bayesmixed.formula.calls import variables
from bayesmixed.formula.terms import Component, is_stateful, learns, nodes, read_calls

_OF_MOMENTS = ("center", "scale", "standardize")


@lru_cache
def calls_of_moments(text: str) -> Mapping[str, tuple[Any, tuple[str, ...]]]:
    """What the calls of a text learn mean and standard deviation of.

    Parameters
    ----------
    text : str
        One-sided formula without bars.

    Returns
    -------
    dict of str
        By its text: the lazy node, to be evaluated, and the columns that are in it. Nothing that learns by itself.
    """
    arguments = [_argument(node) for node in _nodes_of(text) if _is_told(node)]
    return {str(node): (node, tuple(dict.fromkeys(variables(node)))) for node in arguments}


def calls_not_told(text: str) -> list[str]:
    """The calls of a text that learn of all rows more than can be told: knots, an orthogonal basis."""
    return list(dict.fromkeys(str(node) for node in _nodes_of(text) if learns(node) and not _is_told(node)))


@lru_cache
def columns_of_levels(text: str) -> tuple[str, ...]:
    """Columns that calls make categories of, whatever is in them: ``C(month)``."""
    found = [n.args[0] for n in _nodes_of(text) if getattr(n, "callee", "") in ("C", "S", "T") and n.args]
    return tuple(dict.fromkeys(str(node.name) for node in found if hasattr(node, "name")))


def told(component: Component, text: str, moments: Mapping[str, tuple[float, float]]) -> Component:
    """A component that has learned mean and standard deviation from those of all rows.

    Parameters
    ----------
    component : Component
    text : str
        The formula's part that it is of.
    moments : dict of str to (float, float)
        By text, mean and standard deviation of what calls are called of.
    """
    if not component.transforms:
        return component
    call = next(call for call in read_calls(text) if str(call) == component.name)
    states = []
    for node, state in zip(filter(is_stateful, nodes(call)), component.transforms, strict=True):
        if _is_told(node):
            mean, sd = moments[str(_argument(node))]
            states.append(state | {"mean": mean} | ({"std": sd} if "std" in state else {}))
        else:
            states.append(state)
    return replace(component, transforms=tuple(states))


def _is_told(node: Any) -> bool:
    """Whether a node learns moments of what learns nothing."""
    of_moments = getattr(node, "callee", "") in _OF_MOMENTS
    return of_moments and not any(map(learns, nodes(_argument(node))))


def _nodes_of(text: str) -> list[Any]:
    return [node for call in (read_calls(text) if "(" in text else []) for node in nodes(call)]


def _argument(node: Any) -> Any:
    return node.args[0] if node.args else next(iter(node.kwargs.values()))
