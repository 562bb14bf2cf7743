"""What a Gaussian mixed model integrates to: its collapsed density, and exact draws of all effects."""
