"""Levels that were not seen in fit: the effects that each mode gives them, and draws of these.

A new level has one effect per posterior draw, which depends only on (seed, factor, label, draw).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from bayesmixed.design.factors import GroupFactor, GroupSpec, by_factor
from bayesmixed.design.labels import label_key, label_text
from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.design.table import Table
from bayesmixed.errors import NewGroupError, quoted, warn
from bayesmixed.keyed_random import normals, uniforms
from bayesmixed.posterior.draws import Draws, covariance_factor
from bayesmixed.posterior.parts import Parts

MODES = ("sample", "donor", "zero", "nan", "error")

NewGroups = str | Mapping[str, str]
How = Literal["drawn", "expected", "integrated"]


def included_factors(spec: DesignSpec, include_groups: bool | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Resolve ``include_groups``: all factors, none, or the named ones."""
    known = tuple(group.name for group in spec.groups)
    if isinstance(include_groups, (bool, np.bool_)):
        return known if include_groups else ()
    is_list = isinstance(include_groups, (list, tuple, set)) and all(isinstance(name, str) for name in include_groups)
    if not is_list:
        raise ValueError(f"include_groups must be True, False or a list of factors, got {include_groups!r}.")
    if unknown := [name for name in include_groups if name not in known]:
        raise ValueError(f"include_groups names {quoted(unknown)}; the grouping factors are {quoted(known) or 'none'}.")
    return tuple(name for name in known if name in include_groups)


def resolve_modes(new_groups: NewGroups, spec: DesignSpec, override: NewGroups | None = None) -> dict[str, str]:
    """Mode for new levels of each factor.

    Parameters
    ----------
    new_groups : str or dict by factor
        The estimator's setting; factors missing from a dict have ``"sample"``.
    spec : DesignSpec
    override : str or dict by factor, optional
        The setting of the call; factors missing from a dict keep the estimator's mode.
    """
    factors = [group.name for group in spec.groups]
    modes = dict.fromkeys(factors, "sample")
    for given in (new_groups, override):
        if given is not None:
            modes |= by_factor(given, factors, "new_groups")
            for mode in given.values() if isinstance(given, Mapping) else [given]:
                if mode not in MODES:
                    raise ValueError(
                        f"new_groups must be one of {quoted(MODES)}, or a dict of these by factor, got {mode!r}."
                    )
    return modes


def check_new_levels(design: Design, modes: Mapping[str, str], table: Table, spec: DesignSpec) -> None:
    """Raise for new levels if the mode is ``"error"``; warn about levels that are new only because of their type.

    Parameters
    ----------
    design : Design
        Of the new data.
    modes : dict of str to str
    table : Table of n rows
        The new data, for the messages.
    spec : DesignSpec
    """
    groups = {group.name: group for group in spec.groups}
    for factor in design.groups:
        new = is_new(factor)
        if modes[factor.name] == "error" and new.any():
            raise NewGroupError(_describe_new(factor, groups[factor.name], table))
        if mismatch := groups[factor.name].factor_levels.type_mismatch(table, factor.codes):
            warn(mismatch)


def _describe_new(factor: GroupFactor, group: GroupSpec, table: Table) -> str:
    cure = 'Use new_groups="sample" to draw their effects from the fitted population, or "zero" for the average group.'
    missing = np.count_nonzero(factor.codes < 0)
    unknown = f"{missing} missing label{'s' if missing > 1 else ''} in {table.n_rows} rows"
    if not factor.new_labels:
        return f"grouping factor {factor.name!r} has {unknown}. {cure}"
    labels = [label_text(label) if isinstance(label, tuple) else label for label in factor.new_labels]
    count = "1 level" if len(labels) == 1 else f"{len(labels)} levels"
    text = f"grouping factor {factor.name!r} has {count} not seen in fit: {quoted(labels)}."
    if missing:
        text += f" It also has {unknown}."
    if np.all(is_new(factor)):
        levels = group.factor_levels
        types = "; ".join(
            f"{column!r} had {part.kind} labels in fit and now has dtype {table.labels[column].dtype}"
            for column, part in zip(levels.columns, levels.parts, strict=True)
        )
        text += f" All labels of the frame are new ({types})."
    return f"{text} {cure}"


def is_new(factor: GroupFactor, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
    """Rows whose level was not seen in fit, or is missing."""
    codes = factor.codes[rows]
    return (codes < 0) | (codes >= len(factor.levels))


@dataclass(frozen=True)
class NewLevels:
    """The effects of one factor's new levels in one call.

    Attributes
    ----------
    draws : Draws
    seed : int
        Of the fit.
    factor : GroupFactor
        In the rows of the call.
    mode : str
        One of `MODES`.
    """

    draws: Draws
    seed: int
    factor: GroupFactor
    mode: str

    def effects(self, rows: np.ndarray, how: How) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Positions within `rows`, and the effects that these rows share, (S, q); nothing where the effects are zero.

        Parameters
        ----------
        rows : numpy.ndarray of int, shape (n,)
        how : {"drawn", "expected", "integrated"}
            Draws; expectations given the posterior draw; or draws, except of normal effects, which `variance` covers.
        """
        new = is_new(self.factor, rows)
        if not new.any() or self.mode == "zero" or (self.mode == "sample" and how != "drawn"):
            return
        if self.mode == "nan":
            yield np.flatnonzero(new), np.full((self._total, self._q), np.nan)
        elif how == "expected":
            yield np.flatnonzero(new), self._mean_donor
        else:
            for key, row_set in _new_levels(self.factor, new, rows):
                yield row_set, self.draw(key)

    def expected(self) -> np.ndarray:
        """Expectation of a new level's effects at every draw, (S, q)."""
        if self.mode == "donor":
            return self._mean_donor
        return np.full((self._total, self._q), np.nan if self.mode == "nan" else 0.0)

    def variance(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows whose effect is normal, and the variance it adds to the linear predictor at every draw, (k, S)."""
        at = np.flatnonzero(is_new(self.factor, rows)) if self.mode == "sample" else np.empty(0, dtype=int)
        Z = self.factor.Z[rows][at]
        total = np.zeros((len(at), self._total))
        if len(at):
            for k in range(self._q):  # z' L L' z, one column of L at a time
                total += np.square(Z @ self._roots[:, :, k].T)
        return at, total

    def variance_over(self, rows: np.ndarray, parts: Parts) -> np.ndarray:
        """Mean of `variance` over each part of the draws, 0 for other rows; (len(rows), K)."""
        total = np.zeros((len(rows), len(parts.weights)))
        at = np.flatnonzero(is_new(self.factor, rows)) if self.mode == "sample" else np.empty(0, dtype=int)
        if len(at):
            Z = self.factor.Z[rows][at]
            covariance = parts.mean(self._roots @ self._roots.swapaxes(1, 2)).reshape(-1, self._q**2)
            total[at] = (Z[:, :, None] * Z[:, None]).reshape(len(at), -1) @ covariance.T
        return total

    def draw(self, key: tuple[str, str]) -> np.ndarray:
        """Effects of one level at every posterior draw, (S, q)."""
        full_key = (self.seed, self.mode, self.factor.name, *key)
        if self.mode == "sample":
            return np.einsum("sij,sj->si", self._roots, normals(full_key, (self._total, self._q)))
        if self.mode == "donor":
            donor = np.floor(uniforms(full_key, (self._total,)) * len(self.factor.levels)).astype(int)
            return self.draws.effects_each(self.factor.name, donor)
        return np.full((self._total, self._q), np.nan if self.mode == "nan" else 0.0)

    def every_level(self) -> Iterator[tuple[str, np.ndarray]]:
        """Text and effects, (S, q), of each new level of the call; the text of a missing label names its row."""
        every = np.arange(len(self.factor.codes))
        for key, row_set in _new_levels(self.factor, is_new(self.factor), every):
            code = self.factor.codes[row_set[0]]
            text = f"missing in row {key[1]}" if code < 0 else label_text(self._label(code))
            yield text, self.draw(key)

    def _label(self, code: int) -> Any:
        return self.factor.new_labels[code - len(self.factor.levels)]

    @property
    def _total(self) -> int:
        return self.draws.size

    @property
    def _q(self) -> int:
        return self.factor.Z.shape[1]

    @cached_property
    def _roots(self) -> np.ndarray:
        return covariance_factor(self.draws, self.factor)

    @cached_property
    def _mean_donor(self) -> np.ndarray:
        return _mean_donor(self.draws, self.factor)


def _new_levels(factor: GroupFactor, new: np.ndarray, rows: np.ndarray) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    """Key and rows of each new level in some rows; every missing label is its own level, keyed by its row."""
    codes = factor.codes[rows]
    for row in np.flatnonzero(codes < 0):
        yield ("row", str(rows[row])), np.array([row])
    labelled = np.flatnonzero(new & (codes >= 0))
    order = labelled[np.argsort(codes[labelled], kind="stable")]
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    for row_set in np.split(order, starts[1:]):
        if len(row_set):
            yield ("label", label_key(factor.new_labels[codes[row_set[0]] - len(factor.levels)])), row_set


def _mean_donor(draws: Draws, factor: GroupFactor) -> np.ndarray:
    """Mean of the fitted levels' effects at every draw, (draws, q)."""
    total = np.zeros((draws.size, factor.Z.shape[1]))
    for _, b in draws.all_effects(factor):
        total += b.sum(axis=1)
    return total / len(factor.levels)


def new_covariance(draws: Draws, factor: GroupFactor, modes: Mapping[str, str]) -> np.ndarray | None:
    """Mean over draws of the covariance of a new level's effects, (q, q); None where it is zero."""
    mode = modes[factor.name]
    if mode == "sample":
        L = covariance_factor(draws, factor)
        return np.einsum("sik,sjk->ij", L, L) / len(L)
    if mode == "donor":
        mean = _mean_donor(draws, factor)
        total = np.zeros((factor.Z.shape[1],) * 2)
        for _, b in draws.all_effects(factor):
            centred = b - mean[:, None]
            total += np.einsum("sli,slj->ij", centred, centred)
        return total / (len(mean) * len(factor.levels))
    return None
