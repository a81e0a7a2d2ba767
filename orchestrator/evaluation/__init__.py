"""Measure how good probabilities and decisions are, and how sure that is."""
