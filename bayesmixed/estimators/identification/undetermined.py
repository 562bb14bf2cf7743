"""Name columns that the data cannot tell from others, and reject numbers that a double cannot square."""

from __future__ import annotations

import numpy as np

from bayesmixed.design.factors import Effects
from bayesmixed.design.moments import Moments
from bayesmixed.design.spec import Design
from bayesmixed.design.summed.summed import Measured, Summed
from bayesmixed.errors import FormulaError, quoted, warn
from bayesmixed.priors.swept import NOTHING_LEFT

MAX_NAMED = 10  # columns in one warning
# Share of a column left by earlier ones that can be trusted from sums alone. Its square is known to 1e-14, and to
# 1e-14 / 1e-3^2 after earlier columns of which as little is left: far less than the square itself
_PLAIN = 1e-3
_NEARLY = 1 - 1e-8  # cosine of two columns above which the rows decide whether they are multiples
_CONSTANT = 1e-7  # of a column's root mean square: below this spread, sums alone do not decide
_MULTIPLE = 1 - NOTHING_LEFT**2  # cosine of two columns that are multiples
_ROUNDING = 1e-14  # of a column's root mean square: a spread that is only rounding
_TINY = 1e-100  # smallest number whose squares, and sums of these, are safe


def check_units(design: Design) -> None:
    """Reject numbers whose squares a double cannot hold.

    Raises
    ------
    FormulaError
        Naming the column, or y, and the cure.
    """
    columns = {name: design.X[:, at] for at, name in enumerate(design.common_names)}
    for factor in design.groups:
        columns |= {name: factor.Z[:, at] for at, name in enumerate(factor.effect_names)}
    for name, values in {"y": design.response, **columns}.items():
        largest = np.abs(values).max(initial=0.0)
        if largest > 1 / _TINY or 0 < largest < _TINY:
            raise FormulaError(
                f"the largest absolute value of {name!r} is {largest:.3g}, but it must be from {_TINY:g} to "
                f"{1 / _TINY:g} so that its square does not overflow; express it in another unit."
            )


def plainly_independent(measured: Moments, centred: bool) -> bool:
    """Whether sums alone show that no column is a combination of those before it; if not, the rows have to decide.

    Parameters
    ----------
    measured : Moments
    centred : bool
        Whether the intercept counts among the columns.
    """
    products = measured.covariance if centred else measured.raw
    size = np.sqrt(np.maximum(np.diag(products), 0.0))
    if np.any(size <= _CONSTANT * np.sqrt(np.diag(measured.raw))):
        return False
    try:
        root = np.linalg.cholesky(products / np.outer(size, size))
    except np.linalg.LinAlgError:
        return False
    return bool(np.all(np.diag(root) > _PLAIN))


def warn_levels_of_one_row(design: Measured) -> None:
    """Warn of factors whose effects cannot be told from the residual, as each level has one row.

    Warns
    -----
    UserWarning
    """
    for factor in design.groups:
        if len(factor.levels) == design.n_rows:
            warn(
                f"grouping factor {factor.name!r} has as many levels as rows ({design.n_rows}): only the "
                "priors distinguish its effects from the residual."
            )


def warn_undetermined(design: Measured) -> None:
    """Name the columns that the data cannot tell from others, in one warning; they are fitted, thanks to their priors.

    These are columns that are constant in a model with an intercept, all zero, or a combination of others: in the
    common part, or left of one bar.

    Warns
    -----
    UserWarning
    """
    common = design.statistics.common.select(slice(len(design.common_names)))
    X, Z = (
        (None, [None] * len(design.groups))
        if isinstance(design, Summed)
        else (
            design.X,
            [factor.Z for factor in design.groups],
        )
    )
    found = _undetermined(X, common, design.common_names, design.has_intercept)
    for factor, columns, measured in zip(design.groups, Z, design.statistics.effects, strict=True):
        names = factor.effect_names
        for block in factor.blocks:
            slopes = [k for k in block if names[k] != "Intercept"]
            # they may be combinations of columns of other bars: (1 | g) + (0 + k | g) means what it says
            has_intercept = len(slopes) < len(block) or (len(block) == 1 and "Intercept" in names)
            own_names = tuple(names[k] for k in slopes)
            mine = None if columns is None else columns[:, slopes]
            own = _undetermined(mine, measured.select(slopes), own_names, has_intercept)
            found += [f"{text} left of the bar of {factor.name!r}" for text in own]
        found += [f"{text} left of the bars of {factor.name!r}" for text in _proportional(factor, columns, measured)]
    if found:
        few = found if len(found) <= MAX_NAMED else [*found[:MAX_NAMED], f"{len(found) - MAX_NAMED} more"]
        warn(
            f"some columns are not identified by the data, only by their priors: {'; '.join(few)}. The model is "
            "fitted anyway; drop any term that is redundant as a whole."
        )


def _proportional(factor: Effects, columns: np.ndarray | None, measured: Moments) -> list[str]:
    """Slopes in different blocks that are multiples of each other, with their names; `columns` may be unknown."""
    size = np.sqrt(np.diag(measured.raw))
    size = np.where(size > 0, size, 1.0)
    nearly = np.abs(measured.raw / np.outer(size, size)) > _NEARLY
    block = {k: at for at, block in enumerate(factor.blocks) for k in block}
    names = factor.effect_names
    pairs = [(i, j) for j in range(len(names)) for i in range(j) if nearly[i, j] and block[i] != block[j]]
    cosine = np.abs(measured.raw / np.outer(size, size))
    found = [
        (i, j)
        for i, j in pairs
        if names[i] != "Intercept"
        and (cosine[i, j] > _MULTIPLE if columns is None else _is_multiple(columns[:, i], columns[:, j]))
    ]
    return [f"{names[j]!r} is a multiple of {names[i]!r}" for i, j in found]


def _is_multiple(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether one of two columns, neither of them zero, is a multiple of the other."""
    return abs((a / np.linalg.norm(a)) @ (b / np.linalg.norm(b))) > _MULTIPLE


def _constant(columns: np.ndarray | None, measured: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Which columns are constant, and a value of each."""
    if columns is not None:
        return np.ptp(columns, axis=0) == 0, columns[0]
    spread, size = np.sqrt(np.maximum(np.diag(measured.covariance), 0.0)), np.sqrt(np.diag(measured.raw))
    return spread <= _ROUNDING * size, size


def _few_rows(columns: np.ndarray | None, measured: Moments, centred: bool) -> np.ndarray:
    """A few rows with the same inner products as the columns, scaled to size one."""
    mean, scale = measured.location_and_scale(centred)
    if columns is not None:
        return np.asarray(np.linalg.qr((columns - mean) / scale, mode="r"))
    products = measured.covariance if centred else measured.raw
    values, directions = np.linalg.eigh(products / np.outer(scale, scale))
    return np.asarray(np.sqrt(np.maximum(values, 0.0))[:, None] * directions.T)


def _undetermined(
    columns: np.ndarray | None, measured: Moments, names: tuple[str, ...], has_intercept: bool
) -> list[str]:
    """What is wrong with each column that is determined by earlier ones and the intercept, with its name.

    `columns` may be unknown: their moments show what is left of a column to 1e-8.
    """
    if plainly_independent(measured, has_intercept):
        return []
    constant, value = _constant(columns, measured)
    root = _few_rows(columns, measured, has_intercept)
    basis = np.empty((len(root), 0))
    independent: list[int] = []
    found = []
    for j, name in enumerate(names):
        size = np.linalg.norm(root[:, j])
        left = root[:, j]
        for _ in range(2):  # once is not enough, twice is (Kahan; see Giraud, Langou & Rozloznik, 2005)
            left = left - basis @ (basis.T @ left)
        if constant[j] and (has_intercept or not value[j]):
            found.append(f"{str(name)!r} is {'constant' if value[j] else 'all zero'}")
        elif np.linalg.norm(left) <= NOTHING_LEFT * size:
            weight = np.linalg.lstsq(root[:, independent], root[:, j], rcond=None)[0]
            of = [str(names[k]) for k, w in zip(independent, weight, strict=True) if abs(w) > NOTHING_LEFT]
            intercept = " and the intercept" if has_intercept else ""
            found.append(f"{str(name)!r} is a combination of {quoted(of)}{intercept}")
        else:
            basis = np.column_stack([basis, left / np.linalg.norm(left)])
            independent.append(j)
    return found
