"""Measured runs: pilot tables and the range that they cover."""
