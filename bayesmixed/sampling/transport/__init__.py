"""Models whose response is not normal, sampled in coordinates from a working Gaussian: see `engine`."""
