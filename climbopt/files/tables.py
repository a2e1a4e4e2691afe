"""Tables: CSV and Parquet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from climbopt.errors import InputError
from climbopt.files.text import check_file
from climbopt.pilots import PilotRuns

if TYPE_CHECKING:
    import pandas as pd


NUMBERS = ("tokens", "ratio", "loss", "seed", "params", "predicted")
"""Columns in which an empty cell is a missing number; elsewhere text is text, also that of a language called na."""
MISSING = ("", "nan", "NaN", "NA", "null")


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Return a CSV or Parquet file as a table; raises InputError where it is none."""
    import pandas as pd  # here, so that only reading a table loads pandas

    path = Path(path)
    check_file(path)
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        with path.open(encoding="utf-8", newline="") as stream:
            return pd.read_csv(stream, dtype={"run": str, "language": str}, keep_default_na=False,
                               na_values={column: list(MISSING) for column in NUMBERS})
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8 (or as .parquet)") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise InputError(f"{path} is no CSV table: {str(error).strip()}; give a header and one row a line") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from None


def load_pilots(path: str | os.PathLike[str]) -> PilotRuns:
    """Return the pilot runs of a tidy CSV or Parquet file; raises InputError."""
    return PilotRuns.from_frame(read_table(path))
