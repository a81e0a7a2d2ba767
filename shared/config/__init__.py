"""Define a sweep's configuration: its file, its sections and its search space."""
