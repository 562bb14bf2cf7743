"""Labels of classes: which there are, in which order, and the position of each row's label among them."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from bayesmixed.design.labels import EXACT
from bayesmixed.errors import quoted

Labels = tuple[Any, ...]  # of str, bool, int or float, all of one kind
MAX_UNSTATED = 20  # most distinct numbers taken as classes without being stated, and not as a numeric response


def learn_classes(column: pd.Series, given: Any, *, ordered: bool) -> Labels:
    """The classes of a fit, in order.

    Parameters
    ----------
    column : Series of shape (n,)
        Labels of the rows.
    given : sequence of labels, or None
        The order stated by the user; the rows need not contain all classes.
    ordered : bool
        Whether the classes are ordered, so that a fold may lack some; otherwise there are two.

    Raises
    ------
    ValueError
        If there is only one class, if more than two are not ordered, if a needed order is not stated, or if labels are
        invalid.
    """
    _refuse_missing(column)
    stated = _stated(column, given)
    found = _distinct(column, are_stated=stated is not None)
    if stated is None:
        classes = found
    elif ordered or given is not None:
        classes = stated
    else:  # only those categories of a Categorical that occur
        classes = tuple(label for label in stated if label in found)
    positions(column, classes)  # rejects labels that are not among the stated ones
    if len(found) < 2:
        raise ValueError(f"y holds only one class, {found[0]!r}, in all {len(column)} rows: nothing can be learned.")
    if not ordered and len(classes) > 2:
        raise ValueError(
            f"Only binary classification is supported by family='bernoulli'. The type of the target is "
            f"{type_of_target(np.array(found))}: y has {len(classes)} classes, {quoted(classes)}. If they are ordered, "
            "write family='cumulative'; if not, wrap the estimator in sklearn.multiclass.OneVsRestClassifier."
        )
    if ordered and stated is None and len(found) > 2 and isinstance(found[0], str):
        raise ValueError(
            f"the order of the classes {quoted(found)} is not stated, and alphabetical order may be wrong: pass "
            "classes=(...), from the lowest to the highest, or make y an ordered Categorical. Inside cross_val_predict "
            "scikit-learn replaces labels by their position in alphabetical order: there y must hold numbers."
        )
    if stated is None and len(found) > MAX_UNSTATED:
        raise ValueError(
            f"y holds {len(found)} different numbers, each of which would be a class with its own threshold. If they "
            "are quantities, use MixedModelRegressor; if they are classes, state them: classes=(...)."
        )
    return classes


def positions(column: pd.Series, classes: Labels) -> np.ndarray:
    """Positions of labels among the classes, as float64, (n,).

    Raises
    ------
    ValueError
        For a label that is missing or is not one of the classes; names the first row.
    """
    _refuse_missing(column)
    labels = _plain(column)
    are_text = isinstance(classes[0], str)
    if are_text != (labels.dtype == object):
        got, expected = ("numbers", "text") if are_text else ("text", "numbers")
        cure = "pass labels of the same kind"
        if are_text:
            alone = "leave classes=None there, or " if len(classes) == 2 else ""  # more would be in alphabetical order
            cure = (
                "inside cross_val_predict and CalibratedClassifierCV, scikit-learn replaces text by its position in "
                f"alphabetical order; {alone}pass integer codes and state their order"
            )
        raise ValueError(f"y holds {got}, but the classes are {expected}, {quoted(classes)}: {cure}.")
    at: np.ndarray = pd.Index(np.array(classes, dtype=object if are_text else float)).get_indexer(labels)
    if (wrong := np.flatnonzero(at < 0)).size:
        raise ValueError(
            f"y has labels that are not among the classes {quoted(classes)}: row {wrong[0]} is "
            f"{column.iloc[wrong[0]]!r} ({len(wrong):,} rows in all)."
        )
    return at.astype(np.float64)


def check_given(given: Any) -> Labels:
    """Labels stated by the user, as plain values.

    Raises
    ------
    ValueError
        For fewer than two labels, a label given twice, labels of several kinds, or a set, which has no order.
    """
    if isinstance(given, Set):
        raise ValueError(f"classes must be in order, and a set has no order; pass a tuple or list, got {given!r}.")
    values = np.asarray(given).tolist() if isinstance(given, np.ndarray) else list(given)
    labels = tuple(value.item() if isinstance(value, np.generic) else value for value in values)
    numbers = [isinstance(label, (bool, int, float)) and np.isfinite(label) for label in labels]
    alike = all(numbers) or all(isinstance(label, str) for label in labels)
    if len(labels) < 2 or not alike or len(set(labels)) < len(labels):
        raise ValueError(
            f"classes must be two or more different labels, all text or all numbers, in order, got {given!r}."
        )
    return tuple(np.array(labels).tolist())  # numbers become one type


def _stated(column: pd.Series, given: Any) -> Labels | None:
    """The order stated by the user, by `classes` or an ordered Categorical; None if there is none."""
    if given is not None:
        return check_given(given)
    if isinstance(column.dtype, pd.CategoricalDtype) and column.cat.ordered:
        return check_given(column.cat.categories.to_numpy())
    return None


def _distinct(column: pd.Series, *, are_stated: bool) -> Labels:
    """Distinct labels, sorted, as plain values."""
    values = _plain(column)
    if values.dtype != object:
        values = column.astype(object).infer_objects().to_numpy()  # integers and booleans as they are
    if not are_stated:
        check_classification_targets(values)  # classes that are stated may be any numbers, also halves
    return tuple(np.unique(values).tolist())


def _plain(column: pd.Series) -> np.ndarray:
    """Labels as an object array of text, or as float64."""
    labels = column.astype(object).infer_objects()
    if pd.api.types.is_numeric_dtype(labels.dtype) and labels.dtype.kind != "c":
        numbers = labels.to_numpy(dtype=np.float64)
        if np.any(large := np.abs(numbers) >= EXACT):
            raise ValueError(
                f"y holds classes as large as {labels[large].iloc[0]}, which cannot be told apart as numbers; make "
                "them text, y.astype(str)."
            )
        return numbers
    values = labels.to_numpy(dtype=object)
    if not all(isinstance(value, str) for value in values):
        kinds = sorted({type(value).__name__ for value in values})
        raise ValueError(
            f"Unknown label type: y must hold only text, only numbers or only booleans, got {quoted(kinds)}."
        )
    return values


def _refuse_missing(column: pd.Series) -> None:
    missing = column.isna().to_numpy()
    if column.dtype.kind == "f":
        missing = missing | np.isinf(column.to_numpy(dtype=float, na_value=np.nan))
    if count := int(np.count_nonzero(missing)):
        raise ValueError(f"Input y contains NaN or infinity in {count} of {len(column)} rows; drop these rows.")
