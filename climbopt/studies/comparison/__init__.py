"""One problem, many backends, one yardstick: each run in a process of its own, judged on its repaired point."""
