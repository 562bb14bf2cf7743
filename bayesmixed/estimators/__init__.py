"""The estimators: the contract with scikit-learn, the order of the steps, and what a fitted estimator shows."""

from __future__ import annotations

import os
from typing import Any

from bayesmixed.estimators.classifier import MixedModelClassifier
from bayesmixed.estimators.regressor import MixedModelRegressor
from bayesmixed.estimators.storage import PARTS, restore
from bayesmixed.estimators.summed import files
from bayesmixed.estimators.summed.statistics import SufficientStatistics

ESTIMATORS = {cls.__name__: cls for cls in (MixedModelRegressor, MixedModelClassifier)}  # those that a file may hold


def load(path: str | os.PathLike[str]) -> Any:
    """Read an estimator or statistics from a file written by their method `save`; nothing in the file is executed.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    MixedModelRegressor, MixedModelClassifier or SufficientStatistics
        Of the class that the file names. The estimator is fitted: it predicts, scores, conditions and shows its
        posterior as the saved one did.

    Raises
    ------
    FileNotFoundError
    StorageError
        If the file is another program's, is damaged, or has another version, naming contract or class; the message says
        what was found, what can be read, and what to do.
    FormulaError
        If it holds a spline from a version of formulae in which ``bs`` means something else.

    See Also
    --------
    MixedModelRegressor.save : Writes the file; its example shows both.
    """
    from bayesmixed.estimators import archive  # noqa: PLC0415 - knows what every engine stores

    name, tree = archive.read(path, dict.fromkeys(ESTIMATORS, PARTS) | {files.NAME: files.PARTS})
    if name == files.NAME:
        return files.restore(path, SufficientStatistics, tree)
    return restore(ESTIMATORS[name], tree)
