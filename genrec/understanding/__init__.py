"""What a turn of a conversation says, read by rules and by an LLM, and what holds after it. No store, no models, no printing."""
