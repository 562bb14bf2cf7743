"""Bayesian mixed models as scikit-learn estimators."""

from bayesmixed import datasets as datasets
from bayesmixed.distributions import Exponential as Exponential
from bayesmixed.distributions import HalfNormal as HalfNormal
from bayesmixed.distributions import HalfStudentT as HalfStudentT
from bayesmixed.distributions import Normal as Normal
from bayesmixed.distributions import StudentT as StudentT
from bayesmixed.errors import ConvergenceWarning as ConvergenceWarning
from bayesmixed.errors import FormulaError as FormulaError
from bayesmixed.errors import NewGroupError as NewGroupError
from bayesmixed.errors import PriorError as PriorError
from bayesmixed.errors import SamplerError as SamplerError
from bayesmixed.errors import StorageError as StorageError
from bayesmixed.estimator import MixedModelRegressor as MixedModelRegressor
from bayesmixed.estimator import load as load
from bayesmixed.posterior import split_group_effects as split_group_effects
from bayesmixed.priors import Priors as Priors

__version__ = "0.1.0"
