"""The data of a fit: columns checked as scikit-learn checks them, the design learned from the rows that count."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    _num_samples,
    check_array,
    validate_data,
)

from bayesmixed.design.doubts import warn_doubtful
from bayesmixed.design.factors import refuse_single_levels, resolve_group_prior
from bayesmixed.design.frames import (
    check_size,
    column_names,
    kind_of,
    read_column,
    read_response,
    refuse_repeated,
    row_labels,
    to_pandas,
    unmasked,
)
from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.design.summed.checksum import checksum
from bayesmixed.design.summed.summed import Summed
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.estimators.identification.residuals import check_groups, check_residuals
from bayesmixed.estimators.identification.separation import warn_separated
from bayesmixed.estimators.identification.undetermined import (
    check_units,
    warn_levels_of_one_row,
    warn_undetermined,
)
from bayesmixed.estimators.identification.weights import warn_few_rows
from bayesmixed.estimators.summed.learning import require_rows
from bayesmixed.estimators.summed.reading import declared
from bayesmixed.families.base import Family
from bayesmixed.formula.names import cure_of_names
from bayesmixed.formula.parse import ParsedFormula, parse
from bayesmixed.posterior.container import check_columns, check_names


@dataclass(frozen=True)
class Learned:
    """What a fit needs.

    Attributes
    ----------
    model : tuple of DesignSpec and Family
    design : Design
        For the rows that count.
    obs : numpy.ndarray of shape (n,)
        Their labels.
    summed : Summed or None
        For a family that collapses; over all declared levels.
    """

    model: tuple[DesignSpec, Family]
    design: Design
    obs: np.ndarray
    summed: Summed | None

    @property
    def rows(self) -> Rows:
        """What the estimator keeps of its rows."""
        alike = self.summed is not None and self.summed.spec.parts == self.model[0].parts
        return Rows.of(self.design, self.obs, self.summed if alike else None)


def learn(estimator: Any, X: Any, y: Any, sample_weight: Any, reset: bool | None) -> Learned:
    """Check the data and learn the design from the rows that count.

    Parameters
    ----------
    estimator : MixedModel
        Its parameters are read; the names and number of X's columns are recorded on it according to `reset`.
    X, y, sample_weight
        As in `MixedModel.fit`.
    reset : bool or None
        Whether to record X's columns; None: neither record nor compare.

    Raises
    ------
    FormulaError, ValueError
        As in `MixedModel.fit`.
    """
    family = estimator._find_family()
    parsed = read_formula(estimator.formula, X)
    trials, (frame, column, weights, obs) = read_rows(estimator, parsed, family, (X, y, sample_weight), reset)
    check_size(column)
    name = _name(y)
    family, y = estimator._learn_response(family, column)
    if parsed is not None:
        _refuse_leak(parsed, frame, name, column)
    frame = declared(frame, estimator.categories)
    if parsed is None:
        resolve_group_prior(estimator.group_prior, ())
        spec, design = DesignSpec.plain(frame, y, weights)
        table = every = spec.read(frame.head(0))
    else:
        check_columns(parsed.columns)
        levels = estimator.categories or ()
        every = DesignSpec.table_of(parsed, frame, trials=trials, y=y, weights=weights, all_categories=levels)
        table = every.of_levels_that_occur()
        spec, design = DesignSpec.learn_from(parsed, table, group_prior=estimator.group_prior, trials=trials)
        refuse_single_levels(spec.groups)
        warn_doubtful(spec.parts, table)
        check_names(spec, family)
    if not (spec.has_intercept or spec.common_names or spec.groups or family.auxiliary):
        raise FormulaError(
            f"formula {estimator.formula!r} leaves nothing to estimate: there is no intercept, effect or group, and "
            f"family={family.name!r} has no parameter of its own. Write 1 for an intercept."
        )
    family.check_fit(design.observed, design.trials)
    check_units(design)
    warn_few_rows(design, family)
    if parsed is not None:
        warn_undetermined(design)
    if family.residual:  # counts and shares have none: for them a row's own effect models variation beyond the family
        warn_levels_of_one_row(design)
        check_residuals(design.working(family), refuse=parsed is not None)
        check_groups(design.working(family))
    if family.separable:
        warn_separated(design)
    summed = None
    if family.collapses and parsed is not None and every is not table:  # `partial_fit` may bring the other levels
        summed = Summed.of_rows(*DesignSpec.learn_from(parsed, every), every, family)
    elif family.collapses:
        summed = Summed.of_rows(spec, design, table, family)
    return Learned((spec, family), design, obs, summed)


def read_formula(formula: str | None, X: Any) -> ParsedFormula | None:
    """Read a formula; if that fails, say which of X's columns need backquotes."""
    if formula is None:
        return None
    try:
        return parse(formula)
    except FormulaError as error:
        cure = "" if "backquotes" in str(error) else cure_of_names(str(formula), column_names(X))
        if not cure:
            raise
        raise FormulaError(f"{error} {cure}") from None


def read_rows(
    estimator: Any,
    parsed: ParsedFormula | None,
    family: Family,
    data: tuple[Any, Any, Any],
    reset: bool | None,
) -> tuple[str | None, tuple[pd.DataFrame, pd.Series, np.ndarray | None, np.ndarray]]:
    """The column of the trials, and the result of `rows_that_count` for the X, y and sample_weight to learn from."""
    X, y, sample_weight = data
    trials = _trials(estimator.trials, parsed, family)
    used = None if parsed is None else tuple(name for name in (*parsed.columns, parsed.response, trials) if name)
    frame = as_frame(estimator, X, used, reset)
    if parsed is None and (name := _name(y)) in list(frame.columns):
        raise FormulaError(f"X has a column {name!r}, the name of y: the response would predict itself. Drop it.")
    y = read_response(frame, y, None if parsed is None else parsed.response, type(estimator).__name__)
    weights = read_weights(X, sample_weight, estimator.formula)
    return trials, rows_that_count(row_labels(X), frame, y, weights)


def _trials(column: str | None, parsed: ParsedFormula | None, family: Family) -> str | None:
    """The column with the numbers of trials: from the parameter, or from the left side of the formula."""
    given = [name for name in (column, None if parsed is None else parsed.trials) if name is not None]
    if not family.counts_trials and given:
        raise ValueError(f"the trials {given[0]!r} are for family='binomial', not for family={family.name!r}.")
    if family.counts_trials and (parsed is None or len(given) != 1):
        found = "there is no formula" if parsed is None else "both are given" if given else "neither is given"
        raise ValueError(
            f"family={family.name!r} needs each row's number of trials: a formula 'p(successes, trials) ~ ...', or a "
            f"formula and trials='column', with successes as y; {found}."
        )
    return given[0] if given else None


def fitted_rows(estimator: Any, X: Any, y: Any, sample_weight: Any) -> tuple[Design, np.ndarray]:
    """Read rows in the same way as the fit: their design, with y and weights, and their labels.

    Parameters
    ----------
    estimator : MixedModel
        Fitted.
    X, y, sample_weight
        As in `MixedModel.fit`.
    """
    spec = estimator.design_spec_
    frame = as_frame(estimator, X, spec.columns, reset=False)
    y = read_response(frame, y, spec.response, type(estimator).__name__)
    weights = read_weights(X, sample_weight, spec.formula)
    frame, column, weights, obs = rows_that_count(row_labels(X), frame, y, weights)
    return spec.evaluate(spec.read(frame, y=estimator._read_response(column), weights=weights)), obs


def read_weights(X: Any, sample_weight: Any, formula: str | None) -> Any:
    """The given weights, or the column of X that they name.

    Raises
    ------
    FormulaError
        If there is no such column, or if it would be a common effect because there is no formula.
    """
    if not isinstance(sample_weight, str):
        return unmasked(sample_weight)
    names = column_names(X)
    if sample_weight not in names:
        columns = f"columns: {quoted(map(str, names), 30)}" if names else f"X is {kind_of(X)}"
        raise FormulaError(f"sample_weight names {sample_weight!r}, which is not a column of X ({columns}).")
    refuse_repeated(names, (sample_weight,))
    if formula is None:
        raise FormulaError(
            f"sample_weight names the column {sample_weight!r} of X, which would also be a common effect, as there is "
            f"no formula. Write one, or pass X.drop(columns={sample_weight!r}) and X[{sample_weight!r}]."
        )
    return to_pandas(X, (sample_weight,))[sample_weight]


def rows_that_count(
    obs: np.ndarray, frame: pd.DataFrame, y: Any, sample_weight: Any
) -> tuple[pd.DataFrame, pd.Series, np.ndarray | None, np.ndarray]:
    """Frame, response, weights and labels of the rows with positive weight, among rows labelled `obs`."""
    if sample_weight is None:
        return frame, read_column(y, len(frame)), None, obs
    weights = _check_sample_weight(sample_weight, frame, dtype=np.float64, ensure_non_negative=True)
    counts = weights > 0
    return frame.loc[counts], read_column(y, len(frame), counts), weights[counts], obs[counts]


def rows_to_score(estimator: Any, X: Any, y: Any, sample_weight: Any) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """Rows to score, unconverted, with response and weights; rows of weight 0 are left out, whatever they contain.

    Raises
    ------
    ValueError
        For weights that `fit` rejects, a response of another kind than in fit, or if no rows are left.
    """
    require_rows(X, "score")
    spec = estimator.design_spec_
    y = read_response(X, y, spec.response, type(estimator).__name__)
    sample_weight = read_weights(X, sample_weight, spec.formula)
    n_rows, weights, counts = _num_samples(X), None, None
    if sample_weight is not None and n_rows:
        every = np.empty(n_rows)
        weights = _check_sample_weight(sample_weight, every, dtype=np.float64, ensure_non_negative=True)
        counts = weights > 0
        X, weights = _safe_indexing(X, np.flatnonzero(counts)), weights[counts]
    if not _num_samples(X):
        kind = "" if counts is None else " with a positive weight"
        raise ValueError(f"score needs at least one row{kind}, got {n_rows} rows.")
    return X, estimator._read_response(read_column(y, n_rows, counts)), weights


def as_frame(estimator: Any, X: Any, used: Collection[str] | None, reset: bool | None) -> pd.DataFrame:
    """Read X as a DataFrame, its columns checked as scikit-learn checks them.

    Parameters
    ----------
    estimator : MixedModel
    X : DataFrame or array of shape (n, k)
    used : collection of str, or None
        The formula's columns: X must then be a DataFrame, and its other columns are ignored. None: there is no formula.
    reset : bool or None
        True: record X's columns. False: compare them with those of the fit. None: neither.
    """
    require_rows(X)
    if reset:
        vars(estimator).pop("_other_names", None)
    X = to_pandas(X, used)
    if used is not None:
        if not isinstance(X, pd.DataFrame):
            raise FormulaError(
                f"the formula needs named columns, but X is {kind_of(X)}. Pass a DataFrame. In a Pipeline, "
                'call pipe.set_output(transform="pandas"). Inside an estimator that passes on arrays '
                "(BaggingRegressor, AdaBoostRegressor, the final_estimator of a StackingRegressor), name the columns "
                "again: make_pipeline(FunctionTransformer(pd.DataFrame, kw_args={'columns': [...]}), est)."
            )
        if reset:
            _record_names(estimator, X)
        return X
    names: list[Any] = []
    if isinstance(X, pd.DataFrame):
        refuse_repeated(X.columns, X.columns)
        kinds = pd.api.types
        numeric = [kinds.is_numeric_dtype(dtype) or kinds.is_bool_dtype(dtype) for dtype in X.dtypes]
        if not all(numeric):
            text = quoted(X.columns[~np.array(numeric)])
            raise FormulaError(f"columns {text} of X are not numeric; write a formula that says how to use them.")
        names = list(X.columns)
    if isinstance(X, np.ndarray) and X.dtype.names:
        raise FormulaError("X is an array of records, whose fields are not columns; pass pd.DataFrame(X).")
    X = unmasked(X)
    rules = {"dtype": np.float64, "ensure_all_finite": False}  # `Table.read` counts NaN by column
    X = check_array(X, **rules) if reset is None else validate_data(estimator, X, reset=reset, **rules)
    _check_other_names(estimator, names, reset)
    if reset is False:  # scikit-learn compared the names, or warned; the columns are those of fit, in the same order
        names = list(getattr(estimator, "feature_names_in_", []))
    if not names or not all(isinstance(name, str) for name in names):
        names = [f"x{i}" for i in range(X.shape[1])]
    return pd.DataFrame(X, columns=names)


def _record_names(estimator: Any, X: pd.DataFrame) -> None:
    """Record the names and number of X's columns, of which a formula uses some."""
    vars(estimator).pop("feature_names_in_", None)  # of an earlier fit
    if all(isinstance(name, str) for name in X.columns):
        if X.columns.is_unique:
            _check_feature_names(estimator, X, reset=True)
        else:  # scikit-learn rejects duplicate names whether they are used or not
            estimator.feature_names_in_ = np.array(list(X.columns), dtype=object)
    _check_n_features(estimator, X, reset=True)


def _check_other_names(estimator: Any, names: list[Any], reset: bool | None) -> None:
    """Record names that are not text, of which scikit-learn keeps none, or compare them with those of the fit.

    Raises
    ------
    ValueError
        For other names, or another order.
    """
    if not names or all(isinstance(name, str) for name in names):
        return
    found = tuple(map(str, names))
    if reset:
        estimator._other_names = found
    elif reset is False and (fitted := vars(estimator).get("_other_names", found)) != found:
        at = next(i for i, (old, new) in enumerate(zip(fitted, found, strict=True)) if old != new)
        raise ValueError(
            f"without a formula, the columns of X must be those of fit, in the same order, but column {at} was called "
            f"{fitted[at]!r} in fit and is called {found[at]!r} now. Put the columns in the order of fit; if they are "
            "the same under other names, pass X.to_numpy()."
        )


def _refuse_leak(parsed: ParsedFormula, frame: pd.DataFrame, name: Any, y: pd.Series) -> None:
    """Reject a response that was passed as y and is among the columns that the formula uses.

    The name alone does not decide: a formula may use an earlier value of the response.

    Raises
    ------
    FormulaError
    """
    if name not in parsed.columns or list(frame.columns).count(name) != 1:
        return
    used = pd.Series(np.asarray(frame[name]))
    if used.eq(pd.Series(np.asarray(y))).eq(True).all():  # a missing value is equal to none
        raise FormulaError(f"the formula uses {name!r}, which is y: the response would explain itself. Drop the term.")


def _name(y: Any) -> Any:
    """The name of a Series, or of the column of a one-column frame; otherwise None."""
    y = to_pandas(y)
    return y.columns[0] if isinstance(y, pd.DataFrame) and y.shape[1] == 1 else getattr(y, "name", None)


@dataclass(frozen=True)
class Rows:
    """What a fitted estimator keeps of its rows; ``a + b`` is the same for both sets of rows together.

    Attributes
    ----------
    y : numpy.ndarray of shape (n,), or None
        The response; unknown for rows that were summed.
    obs : numpy.ndarray of shape (n,), range or None
        Labels of the rows; consecutive integers as a range.
    n_rows : int
    weight, total : float
        Sum of the weights, and weighted sum of the response.
    squares : dict of str to numpy.ndarray of shape (q, q)
        By factor: the weighted sum over rows of z z'.
    checksum : int or None
        Distinguishes these rows, in any order, from others; None if labels were replaced.
    """

    STORED: ClassVar[tuple[str, ...]] = ("y", "obs", "n_rows", "weight", "total", "squares", "checksum")

    y: np.ndarray | None
    obs: np.ndarray | range | None
    n_rows: int
    weight: float
    total: float
    squares: dict[str, np.ndarray]
    checksum: int | None

    @classmethod
    def of(cls, design: Design, obs: np.ndarray, summed: Summed | None = None) -> Rows:
        """Measure the rows of a fit, which may have been summed."""
        if summed is not None:
            return replace(cls.of_sums(summed), y=design.observed, obs=_brief(obs))
        w = design.weights
        weight = float(design.n_rows if w is None else w.sum())
        total = float(design.observed.sum() if w is None else w @ design.observed)
        squares = {f.name: (f.Z if w is None else f.Z * w[:, None]).T @ f.Z for f in design.groups}
        return cls(design.observed, _brief(obs), design.n_rows, weight, total, squares, checksum(design))

    @classmethod
    def of_sums(cls, summed: Summed) -> Rows:
        """What sums say about the rows."""
        weight = summed.sums.products.n
        return cls(None, None, summed.n_rows, weight, summed.total, summed.squares(), summed.checksum)

    def __add__(self, other: Rows) -> Rows:
        """Both sets of rows."""
        there = self.y is not None and other.y is not None
        return Rows(
            np.concatenate([self.y, other.y]) if there else None,
            _brief(_join_labels(np.asarray(self.obs), np.asarray(other.obs))) if there else None,
            self.n_rows + other.n_rows,
            self.weight + other.weight,
            self.total + other.total,
            {name: square + other.squares[name] for name, square in self.squares.items()},
            None if self.checksum is None or other.checksum is None else (self.checksum + other.checksum) % 2**64,
        )


def _brief(labels: np.ndarray) -> np.ndarray | range:
    """Consecutive integers, as in a default index, become a range."""
    if labels.dtype == np.int64 and len(labels):
        start, stop = int(labels[0]), int(labels[0]) + len(labels)
        if labels[-1] == stop - 1 and np.array_equal(labels, np.arange(start, stop)):
            return range(start, stop)
    return labels


def _join_labels(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Labels of both sets of rows; if one has numbers and the other dates or text, all become text."""
    numbers = "biuf"
    alike = a.dtype.kind == b.dtype.kind or (a.dtype.kind in numbers and b.dtype.kind in numbers)
    return np.concatenate([a, b] if alike else [a.astype(str), b.astype(str)])
