"""Train one head. Knows Keras, not Optuna."""
