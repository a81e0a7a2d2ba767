"""Measure the numeric core by itself; needs only NumPy, Keras and a backend of its."""
