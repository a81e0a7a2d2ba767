"""Turn probabilities into decisions: calibrate them, and choose each label's threshold."""
