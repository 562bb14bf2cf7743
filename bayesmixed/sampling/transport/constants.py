"""The constants of the sampler, the same for every model, family and size."""

from __future__ import annotations

import math

CHAINS = 4  # that adapt, at least
LIMIT = 40.0  # bound of the parameters' coordinates x, either way; beyond it rounding would dominate

# ---- the start
STARTS = (-0.7, 0.7)  # where the search for a mode begins: log sds, in units of the linear predictor's scale
NEWTON, HALVINGS, NEWTON_DONE = 12, 8, 1e-3  # steps to the effects' mode, halvings of each, at most; least gain
OUTER, STEP_LIMIT, STEP_DONE = 8, 1.5, 0.05  # working Gaussians at most; how far x moves at each; done if less
MAX_SD = 1.5  # of a coordinate u, before anything was sampled
SPREAD = 1.1  # of the noise that chains start from
START_HALVINGS = 40

# ---- trajectories
ANGLE = math.pi / 2  # the rotation after which a normal coordinate is independent of where it was
JITTER = (0.6, 1.2)  # share of that angle, uniform
MAX_STEP, FIRST_STEP = 1.2, 1.0
MAX_STEPS = 60  # of one trajectory
# This share of the trajectories takes steps shorter by this factor: where a group sd is near zero the usual ones are
# rejected, and a chain that got there would stay; with only steps up to 1.6, 8 of 3,200 fits were rejected for it
SHORT_SHARE, SHORT = 0.2, 0.4
DIVERGENT = 1000.0  # error of the energy
DIFFERENCE = 1e-4  # of a coordinate t, for the force

# ---- adaptation
ROUNDS = ((60, 0), (80, 12), (50, 0))  # trajectories of a chain: a constant, and so many per coordinate
SKIPPED = 1 / 3  # of the first round
PER_POINT, PRIOR_POINTS = 6.0, 5.0  # a round of n points counts n / 6 in the covariance, earlier knowledge 5
DELTA = 0.9  # acceptance that the step is adapted to
WARM_STEP = 0.5  # chains continued at another target take steps of at least this share of theirs, or start anew
SHRINKAGE, DELAY, DECAY = 0.05, 10.0, 0.75  # of dual averaging: gamma, t_0 and kappa there, with Stan's values

# ---- gates
THINNING = (1, 2, 4, 8, 16)
MIN_STEP, MIN_ACCEPTANCE, MAX_DIVERGENT = 0.05, 0.6, 0.01

# ---- limits of this sampler
MAX_SHARED = 300  # columns that all groups share: effects of crossed factors other than the nested ones, common effects
MAX_COORDINATES = 21

# ---- linear algebra
FEW_SHARED = 16  # up to this many shared columns, multiplying by inverses is faster than solving point by point

# ---- after the fit
REFERENCE_DRAWS = 100  # over which a quadratic approximation of the rows is averaged
NODES, REACH = 41, 7.0  # of the trapezoidal rule over a left-out row; reach in standard deviations given all rows
