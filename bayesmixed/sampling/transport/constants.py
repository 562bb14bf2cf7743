"""The constants of the sampler, the same for every model, family and size."""

from __future__ import annotations

CHAINS = 4  # that adapt, at least

# ---- the start
STARTS = (-0.7, 0.7)  # log standard deviations, units of the linear predictor's scale, where the search begins
OUTER, STEP_LIMIT, STEP_DONE = 8, 1.5, 0.05  # working Gaussians at most; how far a coordinate moves in one; done below
NEWTON, HALVINGS, NEWTON_DONE = 12, 8, 1e-3
MAX_SD = 1.5  # of a coordinate, before anything was sampled
SPREAD = 1.1  # of the chains' starts
START_HALVINGS = 40

# ---- trajectories
ANGLE = 1.5707963267948966  # pi / 2: the rotation that forgets a normal coordinate
JITTER = (0.6, 1.2)  # of the angle
MAX_STEP, FIRST_STEP = 1.6, 1.0
MAX_STEPS = 60  # of one trajectory
DELTA = 0.9  # acceptance that the step is adapted to
DIVERGENT = 1000.0  # error of the energy
DIFFERENCE = 1e-4  # of a coordinate, for the force

# ---- adaptation: trajectories per chain of the rounds
ROUNDS = (60, (80, 12), 50)  # the second by a constant and per coordinate
SKIPPED = 1 / 3  # of the first round
PRIOR_POINTS, PER_POINT = 5.0, 6.0  # what the coordinates' covariance before counts, in points of a round over six

# ---- gates
THINNING = (1, 2, 4, 8)
MIN_STEP, MIN_ACCEPTANCE, MAX_DIVERGENT = 0.05, 0.6, 0.01

# ---- what is not for this sampler
MAX_SHARED = 300  # columns that all groups share: crossed factors' effects beside a nested chain, and common effects
MAX_COORDINATES = 21
