"""Answers: the ratios of a folder that decide writes, of what solve or sweep --stages writes, of JSON or of a table."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from climbopt.files.formats import read_table
from climbopt.files.schema import checked_value
from climbopt.files.shipped import PROBLEM_NAME
from climbopt.files.text import read_json
from climbopt.foundations.errors import InputError, shown
from climbopt.foundations.quantities import RATIO, TOKENS
from climbopt.runs.pilots import RATIO_SUM_TOLERANCE

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
    begin : float
        Tokens before it, of a stage.
    """

    name: str
    ratios: Mapping[str, float]
    budget: float | None
    problem: Path | None
    doubts: tuple[str, ...]
    begin: float = 0.0


def load_schedule(path: str | os.PathLike[str]) -> tuple[AnswerFile, ...]:
    """Return the stages of a schedule, which sweep --stages writes; none of any other answer.

    Raises
    ------
    InputError
        Where a stage is not as sweep writes it.
    """
    file = Path(path)
    if file.is_dir() or file.suffix != ".json":
        return ()
    content = read_json(file, "give what sweep --stages --json writes")
    stages = content.get("schedule") if isinstance(content, Mapping) else None
    return tuple(_of_stage(stages, k + 1, file) for k in range(len(stages))) if isinstance(stages, list) else ()


def load_answer(path: str | os.PathLike[str], stage: int | None = None) -> AnswerFile:
    """Return the answer of a decision's folder, of the JSON that solve writes, or ratios by language of a table.

    The problem is the file problem.toml beside the answer, if there is one. Of a schedule, which sweep --stages writes,
    one stage is taken, counted from 1: its own ratios and tokens.

    Raises
    ------
    InputError
        Where there are no ratios, they do not sum to 1, or there is no such stage.
    """
    path = Path(path)
    file = path / ANSWER_NAME if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise InputError(
            f"{shown(str(path))} holds no {ANSWER_NAME}; name a folder of climbopt decide, or an answer's file"
        )
    # A table holds ratios alone: nothing is known of its budget or its certificate.
    content = read_json(file, "give what solve --json writes, or ratios by language") if file.suffix == ".json" else {}
    stages = content.get("schedule") if isinstance(content, Mapping) else None
    if isinstance(stages, list) or stage is not None:
        return _of_stage(stages if isinstance(stages, list) else [], stage, file)
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


def _of_stage(stages: list[Any], stage: int | None, file: Path) -> AnswerFile:
    """Return one stage of a schedule as an answer; the problem, whose budget is the whole run's, does not judge it."""
    if stage is None or not 1 <= stage <= len(stages):
        held = f"a schedule of {len(stages)} stages; name one by --stage N, from 1" if stages else "no schedule"
        raise InputError(f"{shown(file.name)} holds {held}")
    record = stages[stage - 1]
    if not (isinstance(record, Mapping) and {"begin", "end", "ratios"} <= record.keys()):
        raise InputError(f"stage {stage} in {shown(file.name)} is not as sweep --stages --json writes it")
    begin, end = (TOKENS.read(record[key], f"the {key} of stage {stage} in {file.name}") for key in ("begin", "end"))
    ratios = _rescaled(_ratios_of_object(dict(record), file), f"the ratios of stage {stage} in {shown(file.name)}")
    return AnswerFile(f"{shown(file.stem)}, stage {stage}", ratios, end - begin, None, (), begin)


def _doubts(record: Mapping[str, Any]) -> Iterator[str]:
    """Give why an answer of solve is no decision, or not certified."""
    decision, certificate = record.get("decision"), record.get("certificate")
    # An answer of an earlier version may hold no decision: only a stated "no" is a doubt.
    if isinstance(decision, Mapping) and decision.get("stands") is False:
        yield f"this answer is NOT a decision: {shown(str(decision.get('reason')))}"
    if isinstance(certificate, Mapping) and certificate.get("passed") is False:
        yield "this answer did not pass its certificate"


def load_ratios(path: str | os.PathLike[str]) -> dict[str, float]:
    """Return ratios by language; their sum may be off by what rounding to a few digits does.

    Parameters
    ----------
    path : str or path
        JSON: an object from language to ratio, or what solve --json writes. CSV or Parquet: columns language and
        ratio, one row per language.

    Raises
    ------
    InputError
        Where the file holds no ratios, or they do not sum to 1.
    """
    path = Path(path)
    ratios = (
        _ratios_of_table(path)
        if path.suffix in (".csv", ".parquet")
        else _ratios_of_object(read_json(path, "write ratios by language"), path)
    )
    if bad := [name for name, ratio in ratios.items() if not 0 <= ratio <= 1]:
        raise InputError(f"the ratio of '{bad[0]}' in {path.name} is {ratios[bad[0]]:g}; a ratio lies in [0, 1]")
    return _rescaled(ratios, f"the ratios in {path.name}")


def _rescaled(ratios: Mapping[str, float], which: str) -> dict[str, float]:
    """Return ratios whose sum is 1, of ratios whose sum is nearly 1."""
    total = sum(ratios.values())
    if abs(total - 1) > RATIO_SUM_TOLERANCE:
        raise InputError(
            f"{which} sum to {total:.6g}; they must sum to 1 (within {RATIO_SUM_TOLERANCE}, which is rescaled)"
        )
    return {name: ratio / total for name, ratio in ratios.items()}


def _ratios_of_object(content: object, path: Path) -> dict[str, float]:
    """Return the ratios of a JSON object, or of the result that it is."""
    # A result has its ratios under that key; where it holds a number, a language is called so.
    if isinstance(content, Mapping) and "ratios" in content and not isinstance(content["ratios"], int | float | str):
        content = content["ratios"]
        if content is None:
            raise InputError(f"{path} holds no ratios: it is a result without an answer")
    elif isinstance(content, Mapping) and any(isinstance(value, Mapping | list) for value in content.values()):
        raise InputError(f"{path.name} holds no ratios; give what solve --json writes, or ratios by language")
    amounts = checked_value(dict[str, float | str], content, f"the content of {path.name}")
    return {name: RATIO.read(amount, f"the ratio of '{name}' in {path.name}") for name, amount in amounts.items()}


def _ratios_of_table(path: Path) -> dict[str, float]:
    """Return the ratios of a table's columns language and ratio."""
    table = read_table(path)
    if missing := [column for column in ("language", "ratio") if column not in table]:
        raise InputError(f"{path} has no column '{missing[0]}'; give the columns language and ratio")
    for name in table["language"][table["language"].duplicated()]:
        raise InputError(f"{path} has language '{name}' in several rows; give the ratios of one mixture")
    return {
        name: RATIO.read(amount, f"the ratio of '{name}' in {path.name}")
        for name, amount in zip(table["language"].astype(str), table["ratio"].tolist(), strict=True)
    }
