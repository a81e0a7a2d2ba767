"""Measure what trials cost beside their training, by contender, with training only simulated."""
