"""Results in files: what ``solve --json`` writes, saved from Python and read again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from climbopt.files import write_text
from climbopt.files.text import read_object
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.view import Columns, View, Viewed, percentages
from climbopt.procedures.result import Result
from climbopt.reports.results import RESULT_FORMATS
from climbopt.reports.writers import dumps
from climbopt.uncertainty.robust import Robust


@dataclass(frozen=True, eq=False, repr=False)
class SavedResult(Viewed):
    """A result that was read from a file: claims of the time of writing, which have not been verified again.

    ``climbopt.certify(problem, saved.ratios)`` judges its ratios anew.

    Parameters
    ----------
    record : mapping of str to JSON value
        The file's content, with the keys of ``solve --json``.
    """

    record: Mapping[str, Any]

    @property
    def ratios(self) -> dict[str, float]:
        """Ratios by source; raises InputError where the result had no answer."""
        if not isinstance(self.record["ratios"], dict):
            raise InputError("the saved result has no answer, and so no ratios")
        return dict(self.record["ratios"])

    @property
    def passed(self) -> bool:
        """Whether its certificate passed when it was written."""
        # Null where there was no answer, and so no certificate.
        return bool(self.record["certificate"] and self.record["certificate"]["passed"])

    def to_dict(self) -> dict[str, Any]:
        """Return the file's content."""
        return dict(self.record)

    def view(self) -> View:
        """Return the answer as it was written; the table has a row for each source."""
        record = self.record
        title = f"saved result of {record['problem']}, {record['procedure']}: "
        if not isinstance(record["ratios"], dict):
            return View(f"{title}no answer")
        columns: Columns = {"language": list(self.ratios), "ratio": list(self.ratios.values())}
        verdict = f"{'' if self.passed else 'NOT certified, '}{record['certificate']['verdict']}"
        return View(f"{title}{verdict}", [f"ratios: {percentages(self.ratios)}"], lambda: columns)


@check_arguments
def save_result(result: Result | Robust, path: str | os.PathLike[str]) -> None:
    """Write a result as ``solve --json`` does.

    Examples
    --------
    >>> import climbopt, tempfile
    >>> place = tempfile.mkdtemp() + "/result.json"
    >>> climbopt.save_result(climbopt.solve("equal_beta"), place)
    >>> saved = climbopt.load_result(place)
    >>> saved.passed, climbopt.certify("equal_beta", saved.ratios).passed
    (True, True)
    """
    write_text(path, dumps(result.to_dict()) + "\n")


@check_arguments
def load_result(path: str | os.PathLike[str]) -> SavedResult:
    """Return a result that `save_result`, or ``solve --json``, wrote.

    Raises
    ------
    InputError
        Where the file holds none.
    """
    record = read_object(path)
    # Files of other formats have ratios too; their keys mean other things.
    if record.get("format") not in RESULT_FORMATS or not {"problem", "procedure", "ratios", "certificate"} <= set(
        record
    ):
        raise InputError(f"{path} holds no result; write it with save_result, or with climbopt solve --json")
    return SavedResult(record)
