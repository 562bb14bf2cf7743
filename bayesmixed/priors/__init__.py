"""The prior of every parameter, where it is stated, and the units it is sampled in."""
