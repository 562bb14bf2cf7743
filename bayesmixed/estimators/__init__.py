"""The estimators: the contract with scikit-learn, the order of the steps, and what a fitted one shows."""

from __future__ import annotations

import os
from typing import Any

from bayesmixed.estimators.classifier import MixedModelClassifier
from bayesmixed.estimators.regressor import MixedModelRegressor
from bayesmixed.estimators.storage import PARTS, restore
from bayesmixed.estimators.summed import files
from bayesmixed.estimators.summed.statistics import SufficientStatistics

ESTIMATORS = {cls.__name__: cls for cls in (MixedModelRegressor, MixedModelClassifier)}  # those that a file may be of


def load(path: str | os.PathLike[str]) -> Any:
    """Read an estimator, or statistics, that a method `save` has written; nothing in the file is executed.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    MixedModelRegressor, MixedModelClassifier or SufficientStatistics
        Of the class that the file names. An estimator is fitted: it predicts, scores, conditions and shows its
        posterior as the saved one did.

    Raises
    ------
    FileNotFoundError
    StorageError
        Another program's file, a damaged one, or one of another version, naming contract or class: it says what was
        found, what can be read, and the cure.
    FormulaError
        A spline of a formulae that means something else by ``bs``.

    See Also
    --------
    MixedModelRegressor.save : Writes the file; with an example of both.
    """
    from bayesmixed.estimators import archive  # noqa: PLC0415 - knows what every engine stores

    name, tree = archive.read(path, dict.fromkeys(ESTIMATORS, PARTS) | {files.NAME: files.PARTS})
    if name == files.NAME:
        return files.restore(path, SufficientStatistics, tree)
    return restore(ESTIMATORS[name], tree)
