"""Keep runs: their files, database, locks and secrets, and their jobs on a cluster."""
