"""Turn texts into vectors with a sentence encoder, on the fastest backend that agrees."""
