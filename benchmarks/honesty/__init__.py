"""Measure whether what tagsweep claims holds: intervals, out-of-fold figures, drift, splits."""
