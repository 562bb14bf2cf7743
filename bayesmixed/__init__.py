"""Bayesian mixed models as scikit-learn estimators."""

from bayesmixed import datasets
from bayesmixed.distributions import (
    Exponential,
    Gamma,
    HalfNormal,
    HalfStudentT,
    InverseGamma,
    LogNormal,
    Normal,
    StudentT,
)
from bayesmixed.errors import ConvergenceWarning, FormulaError, NewGroupError, PriorError, SamplerError, StorageError
from bayesmixed.estimators import MixedModelClassifier, MixedModelRegressor, SufficientStatistics, load
from bayesmixed.posterior.container import split_group_effects
from bayesmixed.priors.priors import Priors

__version__ = "0.2.0"
__all__ = [  # noqa: RUF022 (in the order in which the reference shows them)
    "MixedModelRegressor",
    "MixedModelClassifier",
    "SufficientStatistics",
    "load",
    "split_group_effects",
    "datasets",
    # priors
    "Priors",
    "Normal",
    "StudentT",
    "HalfNormal",
    "HalfStudentT",
    "Exponential",
    "LogNormal",
    "Gamma",
    "InverseGamma",
    # errors and warnings
    "FormulaError",
    "PriorError",
    "SamplerError",
    "NewGroupError",
    "StorageError",
    "ConvergenceWarning",
]
