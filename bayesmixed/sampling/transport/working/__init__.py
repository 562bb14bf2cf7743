"""The rows' quadratic approximation, and the Gaussian distribution of the effects that follows from it."""
