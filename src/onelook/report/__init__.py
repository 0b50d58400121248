"""Reports and pictures for people: one HTML page, its figures, and drawings of answers."""
