"""What ``throughput.py`` measures, a file for each of its tables."""
