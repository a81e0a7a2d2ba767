"""Turn a CSV into texts, labels, embeddings and splits."""
