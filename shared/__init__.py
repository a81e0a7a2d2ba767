"""What a worker runs, and the orchestrator with it: configuration, encoding, study and training."""
