"""Pictures of a fit, drawn by matplotlib.

Every function draws into the Axes that it is given, or into a new figure, and returns the Axes, which you can change
at will. It shows nothing and changes no global settings. A new figure has one legend; on Axes of your own,
``axes[0].legend()`` makes one from the artists' labels.

Needs the extra ``plots``. ``import bayesmixed`` does not load this module: write ``from bayesmixed import plots``.
"""

from bayesmixed.plots.groups import caterpillar, group_lattice
from bayesmixed.plots.model import prior_posterior
from bayesmixed.plots.pooling import shrinkage
from bayesmixed.plots.predictive import posterior_predictive, rootogram

__all__ = ["caterpillar", "group_lattice", "posterior_predictive", "prior_posterior", "rootogram", "shrinkage"]
