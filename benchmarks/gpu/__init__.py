"""Measure what a GPU does with packs of heads, and with the encoder, on JAX and torch."""
