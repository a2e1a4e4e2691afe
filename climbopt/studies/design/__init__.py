"""Design of pilots: which runs to make, by the information that they would give."""
