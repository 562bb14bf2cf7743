"""Models whose response is not normal, sampled in coordinates that a working Gaussian gives: see `engine`."""
