"""Answers: the ratios of a folder that decide writes, of what solve, sweep --stages or a table hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from climbopt.files.ratios import load_ratios
from climbopt.files.shipped import PROBLEM_NAME
from climbopt.files.text import read_json
from climbopt.foundations.characters import shown
from climbopt.foundations.errors import InputError
from climbopt.foundations.quantities import TOKENS

ANSWER_NAME = "answer.json"
"""Of the answer in a decision's folder."""


@dataclass(frozen=True)
class AnswerFile:
    """Ratios to train on, and what is known of them.

    Parameters
    ----------
    name : str
        Of the problem, or of the file.
    ratios : mapping of str to float
        By language; they sum to 1.
    budget : float, optional
        Tokens of the run.
    problem : path, optional
        File of the problem that was answered.
    doubts : tuple of str
        Why the answer is no decision, or not certified.
    """

    name: str
    ratios: Mapping[str, float]
    budget: float | None
    problem: Path | None
    doubts: tuple[str, ...]


def load_answer(path: str | os.PathLike[str]) -> AnswerFile:
    """Return the answer of a decision's folder, of the JSON that solve writes, or ratios by language of a table.

    The problem is the file problem.toml beside the answer, if there is one.

    Raises
    ------
    InputError
        Where there are no ratios, or they do not sum to 1.
    """
    path = Path(path)
    file = path / ANSWER_NAME if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise InputError(
            f"{shown(str(path))} holds no {ANSWER_NAME}; name a folder of climbopt decide, or an answer's file"
        )
    # A table holds ratios alone: nothing is known of its budget or its certificate.
    content = read_json(file, "give what solve --json writes, or ratios by language") if file.suffix == ".json" else {}
    record = content if isinstance(content, Mapping) and "ratios" in content else {}
    problem = file.parent / PROBLEM_NAME
    budget = record.get("budget")
    return AnswerFile(
        name=shown(str(record.get("problem", path.stem))),
        ratios=load_ratios(file),
        budget=None if budget is None else TOKENS.read(budget, f"the budget in {file.name}"),
        problem=problem if problem.exists() else None,
        doubts=tuple(_doubts(record)),
    )


def _doubts(record: Mapping[str, Any]) -> list[str]:
    """Return why an answer of solve is no decision, or not certified."""
    decision, certificate = record.get("decision"), record.get("certificate")
    doubts = []
    # An answer of an earlier version may hold no decision: only a stated "no" is a doubt.
    if isinstance(decision, Mapping) and decision.get("stands") is False:
        doubts.append(f"this answer is NOT a decision: {shown(str(decision.get('reason')))}")
    if isinstance(certificate, Mapping) and certificate.get("passed") is False:
        doubts.append("this answer did not pass its certificate")
    return doubts
