"""File formats: TOML problems and models, CSV and Parquet tables, JSON ratios; the sole owner of what they look like.

Everything is checked before anything is built, keyed by language name, and never evaluated.
"""

from climbopt.files.models import load_model, save_model
from climbopt.files.problems import find_problem, is_problem, load_problem, load_ratios, shipped_problems
from climbopt.files.tables import load_pilots, read_table
from climbopt.files.text import check_place, sha256, write_bytes, write_text

__all__ = ["check_place", "find_problem", "is_problem", "load_model", "load_pilots", "load_problem", "load_ratios",
           "read_table", "save_model", "sha256", "shipped_problems", "write_bytes", "write_text"]
