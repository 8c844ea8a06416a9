"""What captions are worth, on the drawn shop, on films and at scale."""
