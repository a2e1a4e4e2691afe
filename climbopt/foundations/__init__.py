"""Foundations: errors, immutable mappings, registries, and the answer of a backend."""
