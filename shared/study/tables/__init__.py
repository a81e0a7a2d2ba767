"""Read and write Optuna's own tables, many rows at a time. No other folder knows them."""
