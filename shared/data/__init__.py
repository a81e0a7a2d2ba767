"""Turn a CSV into embeddings and splits."""
