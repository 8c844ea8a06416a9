"""What dialogues teach about which items to find next: features, weights, the retriever that uses them, transcripts of files."""
