"""The model: declared laws and interactions, their derivatives, and a mixture's losses."""
