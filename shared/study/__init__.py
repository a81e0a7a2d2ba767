"""Keep the study: search space, storage, budget and pruning. Knows Optuna, not Keras."""
