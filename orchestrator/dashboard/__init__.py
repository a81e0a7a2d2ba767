"""Show studies in optuna-dashboard, to look at and not to change."""
