"""Data sets: reading videos and stills, drawing pairs, sharing videos among processes."""
