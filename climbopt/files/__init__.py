"""File formats: TOML problems and models, CSV and Parquet tables, JSON ratios; the sole owner of what they look like.

Everything is checked before anything is built, keyed by language name, and never evaluated.
"""

from climbopt.files.answers import ANSWER_NAME, AnswerFile, load_answer, load_ratios, load_schedule
from climbopt.files.columns import Layout
from climbopt.files.comments import commented
from climbopt.files.draws import DrawFile, PathFile, draws_beside, load_draws, paths_beside, remove_other_draws
from climbopt.files.formats import parse_table, read_table
from climbopt.files.layouts import Reading, understood
from climbopt.files.models import load_model, pairs_beside, save_model
from climbopt.files.named import (
    DrawsLike,
    FilePath,
    ModelLike,
    PilotsLike,
    ProblemLike,
    as_draws,
    as_features,
    as_model,
    as_model_and_rows,
    as_pilots,
    as_problem,
)
from climbopt.files.problems import (
    ProblemFile,
    files_of,
    is_problem,
    load_problem,
    load_problem_file,
    problem_table,
    save_model_of,
    save_problem,
)
from climbopt.files.shipped import PILOTS_NAME, PROBLEM_NAME, find_pilots, find_problem, shipped_problems
from climbopt.files.tables import (
    load_features,
    load_fixed,
    load_map,
    load_mean_tokens,
    load_paths,
    load_pilots,
    load_supply,
    load_weights,
    write_table,
)
from climbopt.files.text import (
    check_folder,
    check_places,
    is_special,
    new_folder,
    read_bytes,
    sha256,
    write_bytes,
    write_text,
)

__all__ = [
    "ANSWER_NAME",
    "AnswerFile",
    "DrawFile",
    "DrawsLike",
    "FilePath",
    "PILOTS_NAME",
    "PROBLEM_NAME",
    "Layout",
    "ModelLike",
    "PathFile",
    "PilotsLike",
    "ProblemFile",
    "ProblemLike",
    "Reading",
    "as_draws",
    "as_features",
    "as_model",
    "as_model_and_rows",
    "as_pilots",
    "as_problem",
    "check_folder",
    "check_places",
    "commented",
    "draws_beside",
    "files_of",
    "find_pilots",
    "find_problem",
    "is_problem",
    "is_special",
    "load_answer",
    "load_schedule",
    "load_draws",
    "load_features",
    "load_fixed",
    "load_map",
    "load_mean_tokens",
    "load_paths",
    "load_supply",
    "load_model",
    "load_pilots",
    "load_problem",
    "load_problem_file",
    "load_ratios",
    "load_weights",
    "new_folder",
    "pairs_beside",
    "remove_other_draws",
    "parse_table",
    "paths_beside",
    "problem_table",
    "read_bytes",
    "read_table",
    "save_model",
    "save_model_of",
    "save_problem",
    "sha256",
    "shipped_problems",
    "understood",
    "write_bytes",
    "write_table",
    "write_text",
]
