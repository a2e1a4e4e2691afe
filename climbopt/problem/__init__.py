"""The allocation problem: what is minimised and what must hold; it knows no solver."""
