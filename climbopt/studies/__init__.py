"""Studies: questions that take many solves, one file each."""
