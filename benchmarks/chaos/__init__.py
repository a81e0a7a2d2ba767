"""Harm a sweep in every way that machines and their users know, and count what is lost."""
