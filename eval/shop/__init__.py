"""A shop that is drawn: pictures, a catalogue, shoppers, and the small CLIP that learns to see it."""
