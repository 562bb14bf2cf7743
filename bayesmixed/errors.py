"""The exceptions and warnings of the package; each subclasses the builtin that callers already catch."""

import sys
import warnings
from collections.abc import Iterable

from sklearn.exceptions import ConvergenceWarning as _SklearnConvergenceWarning


class FormulaError(ValueError):
    """The formula cannot be read, or it does not fit the data."""


class NewGroupError(ValueError):
    """New data hold levels of a grouping factor that were not seen in ``fit``."""


class PriorError(ValueError):
    """A prior has an unknown name, the wrong support, or no counterpart in the model."""


class SamplerError(ValueError):
    """The requested sampler cannot handle the model, or its posterior."""


class StorageError(ValueError):
    """A file does not contain an estimator that can be read."""


class ConvergenceWarning(_SklearnConvergenceWarning):
    """The posterior draws cannot be trusted yet; the message lists causes and remedies."""


def quoted(names: Iterable[object], at_most: int = 10) -> str:
    """List names in quotes for a message, cutting a long list.

    Parameters
    ----------
    names : iterable
        What to list; each is shown by its ``repr``.
    at_most : int, default=10
        How many are shown; the others are only counted.

    Examples
    --------
    >>> quoted(["a", "b"])
    "'a', 'b'"
    >>> quoted(range(12), at_most=2)
    '0, 1 and 10 more'
    """
    shown = [_plain(name) for name in names]
    text = ", ".join(shown[:at_most])
    return text if len(shown) <= at_most else f"{text} and {len(shown) - at_most} more"


def _plain(name: object) -> str:
    # NumPy 2 shows scalars as np.int64(3); a reader of an error wants 3
    return repr(name.item() if hasattr(name, "item") else name)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user's code, skipping frames of this package, scikit-learn and joblib.

    Parameters
    ----------
    message : str
    category : type of Warning, default=UserWarning
    """
    level, frame = 2, sys._getframe(1)  # level 1 is this function
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_inside(module: str) -> bool:
    return module.partition(".")[0] in (__name__.partition(".")[0], "sklearn", "joblib", "contextlib")
