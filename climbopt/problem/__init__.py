"""The allocation problem: objective and constraints, independent of any solver."""
