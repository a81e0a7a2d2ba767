"""Sample hyperparameters by TPE. Knows the insides of Optuna's sampler."""
