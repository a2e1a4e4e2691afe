"""``python -m climbopt``, and the command ``climbopt``."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is loaded ends it as Ctrl-C does later."""
    try:
        from climbopt.cli import main as run
    except KeyboardInterrupt:
        print("climbopt: interrupted", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
