"""What the orchestrator and the workers both know: configuration, data, search and training."""
