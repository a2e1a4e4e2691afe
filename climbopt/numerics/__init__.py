"""Numerics: intervals, polytopes and quadratic programs."""
