"""Foundations: errors, immutable mappings, registries, and what a backend answers."""
