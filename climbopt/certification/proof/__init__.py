"""Proofs of lower bounds and their check, which needs nothing of the search that found them."""
