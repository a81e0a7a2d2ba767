"""Measure what the README claims; see benchmarks/README.md. Not tests: they fail nothing."""
