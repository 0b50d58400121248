"""onelook: tell from a single example whether two images show the same thing."""
