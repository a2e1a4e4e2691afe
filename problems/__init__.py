"""The problems that ship with climbopt: NAME.toml, with its data in NAME/."""
