"""Certification: what is true of a point, computed from the problem and the point alone."""
