"""The constants of the sampler, the same for every model."""

from __future__ import annotations

SHARED = 64  # most effects of small factors, all together, that are drawn with the common ones
NESTED = 250  # effects other than the largest factor's above which a dense sampler is slower, if factors are nested
MAX_DIMENSION = 21  # most coordinates of one update, without sigma, that a t proposal covers
CHAINS = 4  # fewest chains to run, even if fewer are kept

# ---- i-SIR with a frozen proposal
DEGREES = 6.0  # of freedom of the proposal
CANDIDATES, FEW, LARGE = 8, 3, 20_000  # fresh points of an update; fewer if more than LARGE entries are inverted
WIDER, WIDE = 1.3, 1.2  # covariance of the proposal relative to that of the points, in the first and the last fit

# ---- warm-up
WALK, PER_DIMENSION = 150, 30  # sweeps of the random walk: at least, per dimension
STEPS = 3  # of the random walk in an update
SETTLE = 75  # sweeps with the first proposal; the last is fitted to them
LOG_SD, V = (-40.0, 15.0), 40.0  # beyond these, rounding errors would dominate

# ---- nearly nested factors
POWER = 60  # sweeps of the power iteration
NEARLY_NESTED = 0.5  # rate of effects above which those of all factors but the largest are drawn once more
TOLERANCE, NOISE_TOLERANCE = 1e-9, 1e-3  # of the conjugate gradients, relative to the right-hand side and to the noise
MAX_ITERATIONS = 2000
REFITS = 4  # most fits of the centre, each with the ridge that follows from the one before

THINNING = (1, 4)  # sweeps per draw; the next number in another run if the draws were not good enough
