"""Training: what learns from the store's events."""
