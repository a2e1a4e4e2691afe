"""``python -m climbopt``."""

from climbopt.cli import main

main()
