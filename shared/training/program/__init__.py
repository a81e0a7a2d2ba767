"""Compute what training a pack of heads takes: in keras.ops, for any backend."""
