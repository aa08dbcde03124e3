"""What ``tools/benchmark.py`` measures: figures of a machine, never asserted in a test."""
