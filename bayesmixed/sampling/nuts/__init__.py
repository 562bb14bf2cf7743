"""The No-U-Turn Sampler on the joint model in PyMC: the reference, and the last resort."""
