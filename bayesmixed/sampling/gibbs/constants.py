"""The constants of the sampler, the same for every model."""

from __future__ import annotations

SHARED = 64  # effects of small factors, all together, that are drawn with the common ones
NESTED = 250  # effects beside the largest factor's from which a dense sampler is slower, where large factors are nested
MAX_DIMENSION = 21  # coordinates of one update, sigma apart, that a t proposal covers
CHAINS = 4  # that run, however few are kept

# ---- i-SIR with a frozen proposal
DEGREES = 6.0  # of freedom of the proposal
CANDIDATES, FEW, LARGE = 8, 3, 20_000  # fresh points of an update; fewer where more than LARGE entries are inverted
WIDER, WIDE = 1.3, 1.2  # covariance of the proposal over that of the points it is fitted to, first and last fit

# ---- warm-up
WALK, PER_DIMENSION = 150, 30  # sweeps of the random walk: at least, per dimension
STEPS = 3  # of the random walk in an update
SETTLE = 75  # sweeps with the first proposal, to which the last is fitted
LOG_SD, V = (-40.0, 15.0), 40.0  # beyond, rounding would decide

# ---- nearly nested factors
POWER = 60  # sweeps of the power iteration
NEARLY_NESTED = 0.5  # rate of effects above which those of all factors but the largest are drawn once more
TOLERANCE, NOISE_TOLERANCE = 1e-9, 1e-3  # of the conjugate gradients: beside the right-hand side, and beside the noise
MAX_ITERATIONS = 2000
REFITS = 4  # of the centre, with the ridge that the fit before has told

THINNING = (1, 4)  # sweeps per draw, where the draws before were not good enough
