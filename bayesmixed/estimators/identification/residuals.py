"""Reject a response that the effects explain without residual: there is no sigma to estimate, and no posterior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import lsmr

from bayesmixed.design.factors import Effects, GroupFactor
from bayesmixed.design.moments import Moments
from bayesmixed.design.spec import Design
from bayesmixed.design.summed.summed import Measured, Summed
from bayesmixed.errors import FormulaError, quoted, warn
from bayesmixed.estimators.identification import sums
from bayesmixed.estimators.identification.undetermined import plainly_independent
from bayesmixed.families.gaussian import SIGMA_FLOOR

_ROUNDING = 1e-10  # relative size below which a residual of the common effects is rounding error
_NOTHING_LEFT = 1e-13  # share of y's sum of squares below which groups leave no residual
_PLAINLY_LEFT = 0.01  # such a share is left by fewer effects, too, whatever rounding has made of directions
_DIGITS = 2e-15  # of the largest |y|: what rounding leaves of a residual
_NULL = 1e-12  # relative singular value of a level's columns that is rounding
_SOME = 1000  # rows that are tried first: effects that leave a residual there leave one in all rows
_ROUGH, _FINE = 1e-4, 1e-10  # tolerances of the iteration for several factors: whether to look closer, and that look
_ITERATIONS = 50, 1000  # likewise

# Takes a factor and a number of its effects; returns what these and the common effects leave of y, as a share of its
# sum of squares, the share below which that is rounding, and by how much rows outnumber effects.
LeftBy = Callable[[int, int], tuple[float, float, float]]


def check_residuals(design: Measured, refuse: bool) -> None:
    """Raise an error, or warn, if common effects fit the response without error.

    Parameters
    ----------
    design : Design or Summed
    refuse : bool
        Raise instead of warn.
    """
    if plainly_independent(design.statistics.common, design.has_intercept):  # the response, of the columns
        return
    if not (_leaves_nothing_of_sums(design) if isinstance(design, Summed) else _leaves_nothing(design)):
        return
    effects = quoted(design.common_names) or "(only the intercept)"
    message = f"the common effects {effects} fit y without error (all residuals are zero)"
    if refuse:
        raise FormulaError(f"{message}; is one of them computed from y?")
    warn(f"{message}; sigma is kept above {SIGMA_FLOOR:g} sd(y).")


def _leaves_nothing(design: Design) -> bool:
    """Whether the common effects fit the rows without error, although there are fewer of them."""
    columns, y = _standard(design)
    if _n_rows(design) <= columns.shape[1]:
        return False
    rounding = max(_ROUNDING * np.abs(y).max(), 1e-14 * np.abs(np.asarray(design.y)).max())
    return bool(np.abs(_left(columns, y)).max() <= rounding)


def _leaves_nothing_of_sums(design: Summed) -> bool:
    """The same for summed rows, whose residuals are known only by their sum of squares."""
    products = design.sums.products
    if max(products.n_rows, products.n) <= len(design.common_names) + design.has_intercept:
        return False
    return sums.left_by_common(sums.standard(design), design.has_intercept) <= _NOTHING_LEFT


def check_groups(design: Measured) -> None:
    """Reject a response that the effects of a factor, or of all factors together, explain without residual.

    Rows are used where they are available, not sums over levels: for a slope that varies a thousand times less within
    levels than between them, sums show a residual of 5e-10 of y where there is none (measured), but the limit is 1e-13.
    If there are only sums, they decide as far as they can.

    An example is a school's score repeated on its pupils' rows, or one that lies on a line of its own in each school.
    If there are no more rows than effects nothing can be said, and no error is raised.

    Raises
    ------
    FormulaError
        Naming the factor and the cure.
    """
    if not design.groups:
        return
    left_by, together = _left_of_sums(design) if isinstance(design, Summed) else _left_of_rows(design)
    for f, factor in enumerate(design.groups):
        effects = len(factor.effect_names)
        if left_by(f, effects)[0] > _PLAINLY_LEFT:
            continue  # fewer effects leave more
        # a bar with as many effects as a group has rows explains anything; its first effects may suffice
        for q in range(1, effects + 1):
            left, limit, spare = left_by(f, q)
            if spare > 0 and left <= limit:
                raise FormulaError(
                    f"grouping factor {factor.name!r} explains y without residual: given the common effects, y "
                    f"{_pattern(factor, design.statistics.is_binary[f], q)}, so the residual sd cannot be estimated. "
                    "Keep one row per level, or drop the bar."
                )
    if len(design.groups) > 1 and together():
        raise FormulaError(
            f"the grouping factors {quoted(factor.name for factor in design.groups)} together explain y without "
            "residual, so the residual sd cannot be estimated. Aggregate the rows, or drop one of the bars."
        )


def _left_of_rows(design: Design) -> tuple[LeftBy, Callable[[], bool]]:
    """See `LeftBy`; and a function that says whether all effects together leave nothing."""
    y = design.response - design.statistics.common.location_and_scale(design.has_intercept)[0][-1]
    size = max(float(y @ y), np.finfo(float).tiny)
    floor = _NOTHING_LEFT * size + design.n_rows * (_DIGITS * np.abs(np.asarray(design.y)).max()) ** 2

    def left_by(f: int, q: int) -> tuple[float, float, float]:
        factor = design.groups[f]
        first = replace(factor, Z=factor.Z[:, :q], effect_names=factor.effect_names[:q])
        left, spare = _left_by(design, first, floor)
        return left / size, floor / size, spare

    return left_by, lambda: _explain_together(design, floor)


def _left_of_sums(design: Summed) -> tuple[LeftBy, Callable[[], bool]]:
    """The same for summed rows."""
    products, common = sums.standard(design), design.sums.common
    size, spread = common.raw[-1, -1], products.VV[-1, -1] / products.n * common.location_and_scale(True)[1][-1] ** 2
    floor = _NOTHING_LEFT + _DIGITS**2 * float(size / spread)

    def left_by(f: int, q: int) -> tuple[float, float, float]:
        left, spare = sums.left_by_factor(products, f, q, design.has_intercept)
        return left, floor, spare

    return left_by, lambda: sums.left_together(products, design.has_intercept, floor)


def _pattern(factor: Effects, is_binary: np.ndarray, q: int) -> str:
    """How y follows the first q effects of a factor."""
    slopes = [k for k in range(q) if factor.effect_names[k] != "Intercept"]
    if not slopes:
        return "does not vary within its levels"
    names = quoted(factor.effect_names[k] for k in slopes)
    if is_binary[slopes].all():
        return f"does not vary within its levels and the categories of {names}"
    return f"lies on a line of its own in {names} for each level"


def _n_rows(design: Design) -> float:
    """Number of rows, counting a row of weight w as w rows."""
    return design.n_rows if design.weights is None else max(design.n_rows, float(design.weights.sum()))


def _standard(design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Scaled common columns, including the intercept, and the response; both centred if there is an intercept."""
    location, scale = design.statistics.common.location_and_scale(design.has_intercept)
    intercept = np.ones((design.n_rows, int(design.has_intercept)))
    return np.column_stack([intercept, (design.X - location[:-1]) / scale[:-1]]), design.response - location[-1]


def _left(columns: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Residuals of least squares."""
    return y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0]


def _left_by(design: Design, factor: GroupFactor, floor: float) -> tuple[float, float]:
    """As `_within`, but of some rows only if these suffice to see that more than `floor` is left."""
    last = np.searchsorted(np.cumsum(np.bincount(factor.codes)), _SOME + 10 * design.X.shape[1])
    some = np.flatnonzero(factor.codes <= last)
    if len(some) < design.n_rows:
        left, spare = _within(replace(design, groups=()).take(some), factor.take(some))
        if spare > 0 and left > floor:
            return left, spare
    return _within(design, factor)


def _within(design: Design, factor: GroupFactor) -> tuple[float, float]:
    """Sum of squares that common effects and one factor's leave of y, and the excess of rows over effects."""
    X, y = _standard(design)
    V, Z, codes = np.column_stack([X, y]), _standard_effects(factor), factor.codes
    J, q = int(codes.max()) + 1, Z.shape[1]  # of some rows, the first levels
    S = np.array([[np.bincount(codes, a * b, J) for b in Z.T] for a in Z.T]).reshape(q, q, J)
    T = np.array([[np.bincount(codes, a * v, J) for v in V.T] for a in Z.T])
    inverse = np.linalg.pinv(np.moveaxis(S, -1, 0), rcond=_NULL, hermitian=True)
    effects = inverse @ np.moveaxis(T, -1, 0)
    for k in range(q):
        V = V - Z[:, k, None] * effects[codes, k]
    own = int(np.linalg.matrix_rank(inverse, rtol=_NULL, hermitian=True).sum())
    columns = V[:, :-1]
    columns = columns[:, np.linalg.norm(columns, axis=0) > _ROUNDING * np.sqrt(len(columns))]  # of standard columns
    left = _left(columns, V[:, -1])
    return float(left @ left), _n_rows(design) - own - columns.shape[1]


def _standard_effects(factor: GroupFactor) -> np.ndarray:
    """The factor's columns, (n, q), scaled, and centred if it has an intercept: the same span in every level."""
    has_intercept = "Intercept" in factor.effect_names
    location, scale = Moments.of(factor.Z).location_and_scale(has_intercept)
    slopes = np.array([name != "Intercept" for name in factor.effect_names])
    return (factor.Z - np.where(slopes, location, 0.0)) / scale


def _explain_together(design: Design, floor: float) -> bool:
    """Whether all effects together leave nothing, although there are more rows than effects.

    Least squares on the sparse columns of all effects by iteration (Fong & Saunders, 2011, LSMR: an iterative algorithm
    for sparse least-squares problems, SIAM Journal on Scientific Computing 33). A residual shows in a few steps; if
    there seems to be none, a second run looks closer.
    """
    X, y = _standard(design)
    n, parts = design.n_rows, [sparse.csr_array(X)]
    for factor in design.groups:
        Z = _standard_effects(factor)
        J, q = len(factor.levels), Z.shape[1]
        columns = factor.codes[:, None] * q + np.arange(q)
        parts.append(sparse.csr_array((Z.ravel(), columns.ravel(), np.arange(n + 1) * q), (n, J * q)))
    effects = sparse.hstack(parts, format="csr")
    if _n_rows(design) <= effects.shape[1]:
        return False
    for tolerance, iterations in zip((_ROUGH, _FINE), _ITERATIONS, strict=True):
        x = lsmr(effects, y, atol=tolerance, btol=tolerance, maxiter=iterations)[0]
        left = y - effects @ x
        if left @ left > max(floor, (10 * tolerance) ** 2 * (y @ y)):
            return False
    return bool(left @ left <= floor)
