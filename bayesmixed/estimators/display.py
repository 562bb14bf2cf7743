"""What a fitted estimator says about itself: the formula it was fitted with, its priors, how sampling went.

Nothing is computed from the draws, and no heavy libraries are imported.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from html import escape
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import estimator_html_repr
from sklearn.utils._pprint import _EstimatorPrettyPrinter

from bayesmixed.design.factors import GroupSpec
from bayesmixed.design.spec import DesignSpec
from bayesmixed.errors import quoted
from bayesmixed.estimators.inputs import Rows
from bayesmixed.posterior.posterior import Posterior

MAX_LINES = 12  # most lines of one section; the rest are only counted
_FIGURES = [
    ("largest R-hat", "max_r_hat", ".3f"),
    ("smallest bulk ESS", "min_ess_bulk", ",.0f"),
    ("smallest tail ESS", "min_ess_tail", ",.0f"),
    ("divergences", "divergences", ",d"),
    ("Pareto k-hat", "k_hat", ".2f"),
    ("acceptance", "acceptance", ".2f"),
    ("share moved", "moved", ".2f"),
]

_EXACT = ("collapsed", "gibbs")  # samplers whose draws cannot diverge

Sections = dict[str, list[tuple[str, str]]]


class Display:
    """Text and HTML of an estimator that holds a `Posterior` and its `Rows`.

    Both come from scikit-learn; a fitted estimator adds the formula, the priors and the diagnostics.
    """

    _posterior: Posterior
    _rows: Rows
    _summed: Any
    _is_waiting: Callable[[], bool]

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text = BaseEstimator.__repr__(self, N_CHAR_MAX)
        return f"{text}\n{as_text(self._shown)}" if self._is_learned else text

    def _html_repr(self) -> str:
        html = estimator_html_repr(self)
        return f"{html}{as_html(self._shown)}" if self._is_learned else html

    @property
    def _is_learned(self) -> bool:
        return "_posterior" in vars(self) or self._is_waiting()

    @property
    def _shown(self) -> Sections:
        if self._is_waiting():  # displaying it does not draw
            return {"Model": [("rows", f"{self._summed.n_rows:,}, not yet sampled")]}
        return sections(self._posterior, self._rows)

    def _get_fitted_attr_html(self, *args: Any, **kwargs: Any) -> Any:
        """The table of fitted attributes without `idata_`, which scikit-learn would assemble in order to show it."""
        shown = copy(self)
        if self._is_waiting():
            return {}
        if "_posterior" in vars(self):
            shown._idata = "not assembled"  # type: ignore[attr-defined]
        found = super(Display, shown)._get_fitted_attr_html(*args, **kwargs)  # type: ignore[misc]
        found.pop("idata_", None)
        return found


# scikit-learn breaks the lines of estimators, also inside pipelines and lists, and recognises them by their __repr__
_EstimatorPrettyPrinter._dispatch[Display.__repr__] = _EstimatorPrettyPrinter._pprint_estimator


def sections(posterior: Posterior, rows: Rows) -> Sections:
    """Collect names and values, by section.

    Parameters
    ----------
    posterior : Posterior
    rows : Rows
    """
    spec = posterior.spec
    model = [("formula", _formula(spec)), ("family", f"{posterior.family.name}, {posterior.family.link.name} link")]
    if posterior.family.classes:
        model.append(("classes", quoted(posterior.family.classes)))
    n_rows = f"{rows.n_rows:,}"
    model.append(("rows", n_rows if rows.weight == rows.n_rows else f"{n_rows}, of weight {rows.weight:,.10g}"))
    model += [(factor.name, _factor(factor)) for factor in spec.groups]
    return {"Model": model, "Priors": _cut(posterior.model.priors.rows), "Sampling": _sampling(posterior)}


def _formula(spec: DesignSpec) -> str:
    if spec.formula is not None:
        return spec.formula
    return (
        f"none; all columns: {', '.join(spec.common_names[:MAX_LINES])}{', ...' * (len(spec.common_names) > MAX_LINES)}"
    )


def _factor(factor: GroupSpec) -> str:
    """Its levels and effects; effects that may correlate are in parentheses."""
    blocks = [[factor.effect_names[k] for k in block] for block in factor.blocks]
    effects = [", ".join(block) if len(block) == 1 else f"({', '.join(block)})" for block in blocks]
    return f"{len(factor.levels):,} levels of {', '.join(effects)}"


def _cut(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    hidden = len(lines) - MAX_LINES
    # one hidden line would save nothing: the line that counts it is as long
    return lines if hidden < 2 else [*lines[: MAX_LINES - 2], ("...", f"{hidden} more in priors_"), *lines[-2:]]


def _sampling(posterior: Posterior) -> list[tuple[str, str]]:
    found = posterior.draws.diagnostics
    chains, draws = posterior.draws.shape
    made = f"{draws:,} in each of {chains:,} chains" if chains > 1 else f"{draws:,} in one chain"
    lines = [("sampler", f"{found['sampler']} ({found['reason']})"), ("draws", made)]
    for label, name, form in _FIGURES:
        if np.isfinite(found.get(name, np.nan)) and (name != "divergences" or found["sampler"] not in _EXACT):
            of = f", {found[f'{name}_of']}" if f"{name}_of" in found else ""
            lines.append((label, f"{found[name]:{form}}{of}"))
    seconds = sum(found.get("seconds", {}).values())
    return [*lines, ("seconds", f"{seconds:.2g}" if seconds < 10 else f"{seconds:,.0f}")]


def as_text(parts: Sections) -> str:
    """A block of lines per section."""
    width = max(len(name) for lines in parts.values() for name, _ in lines)
    blocks = [[title, *(f"  {name:<{width}}  {value}" for name, value in lines)] for title, lines in parts.items()]
    return "\n".join(line for block in blocks for line in block)


def as_html(parts: Sections) -> str:
    """A table per section."""
    tables = "".join(_table(title, lines) for title, lines in parts.items())
    style = "margin-top: 0.5em; display: flex; flex-wrap: wrap; gap: 0 2em; align-items: start"
    return f'<div style="{style}">{tables}</div>'


def _table(title: str, lines: list[tuple[str, str]]) -> str:
    cell = 'style="text-align: left; padding: 0.1em 0.6em"'
    rows = [f"<tr><th {cell}>{escape(name)}</th><td {cell}>{escape(value)}</td></tr>" for name, value in lines]
    return f"<table><caption {cell}><b>{title}</b></caption>{''.join(rows)}</table>"
