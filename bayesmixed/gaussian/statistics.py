"""The cross-products of a Gaussian mixed model in working units, from a design's sufficient statistics."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from bayesmixed.design.spec import Design
from bayesmixed.design.statistics import CrossProducts, parts
from bayesmixed.design.summed.summed import Measured, Summed
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.gaussian.units import Units

# Size of what is subtracted from a column while it is swept, in working units. A sum of squares that is derived from
# those of unswept columns loses its square: here 3 of a double's 16 digits. A year's square, swept of the year,
# would lose 6, its cube 11, and a group's null directions are found at 1e-12 (`elimination`)
_MAX_SUBTRACTED = 30.0
_LOST = 1e4  # the same without rows to read again: 8 digits of a sum of squares are left


def working_products(design: Measured, units: Units) -> CrossProducts:
    """Cross-products of V and Z_w of `Units`.

    They follow from the design's statistics by a shift, a sweep and a scale, without the rows. But if sweeping removes
    nearly all of a column, sums no longer hold all digits of what is left: the rows are read again if they are
    available; if they are not and hardly a digit is left, the column raises an error.

    Raises
    ------
    FormulaError
        Naming the column and the cure.
    """
    statistics = design.statistics
    A = units.common_map(statistics.origin)
    B = [units.group_map(f, origin) for f, origin in enumerate(statistics.effect_origins)]
    subtracted = _subtracted(statistics.products, A, B)
    if isinstance(design, Summed):
        _refuse_lost(design, subtracted)
    elif max(part.max() for part in subtracted) > _MAX_SUBTRACTED:
        return products_of_rows(design, units)
    return statistics.products.combined(A, B)


def _refuse_lost(design: Summed, subtracted: list[np.ndarray]) -> None:
    """Reject columns of which sums keep too few digits next to the columns they contain."""
    first = ("Intercept",) if design.has_intercept else ()
    names = [(*first, *design.common_names, "y"), *(group.effect_names for group in design.groups)]
    for own, part in zip(names, subtracted, strict=True):
        if lost := [name for name, size in zip(own, part, strict=True) if size > _LOST]:
            raise FormulaError(
                f"sums over rows are not precise enough for {quoted(lost)} next to the columns that it contains: the "
                "powers and products of a column that varies little about a large value are nearly combinations of "
                "each other. Subtract a meaningful value, as in {(year - 2010) ** 3}, or fit the rows themselves."
            )


def _subtracted(products: CrossProducts, A: np.ndarray, B: list[np.ndarray]) -> list[np.ndarray]:
    """Largest term of each column in working units: root mean squares of the columns times their coefficients."""
    squares = [np.diag(products.VV)]
    for S, b in zip(products.S, B, strict=True):
        q = np.arange(1, len(b) + 1)
        squares.append(S[q * (q + 1) // 2 - 1].sum(axis=1))
    sizes = [np.sqrt(square / products.n) for square in squares]
    return [np.abs(size[:, None] * part).max(axis=0) for size, part in zip(sizes, [A, *B], strict=True)]


def products_of_rows(design: Design, units: Units) -> CrossProducts:
    """The same by a pass over the rows."""
    levels = [len(factor.levels) for factor in design.groups]

    def some(rows: slice) -> CrossProducts:
        Z = [units.group_columns(f, factor, rows) for f, factor in enumerate(design.groups)]
        codes = [factor.codes[rows] for factor in design.groups]
        weights = None if design.weights is None else design.weights[rows]
        return CrossProducts.of(units.common_columns(design, rows), Z, codes, levels, weights)

    first, *others = parts(design)
    return sum(map(some, others), some(first))


def is_nested(statistics: CrossProducts, inner: int, outer: int) -> bool:
    """Whether every level of factor `inner` occurs with only one level of factor `outer`."""
    return len(statistics.between(inner, outer).first) == statistics.n_levels[inner]


def sums_by(place: np.ndarray, n: int) -> sparse.csr_array:
    """The matrix that sums numbers by their places among n, (n, len(place))."""
    return sparse.csr_array((np.ones(len(place)), (place, np.arange(len(place)))), (n, len(place)))
