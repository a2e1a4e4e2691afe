"""Procedures: ways from a problem to ratios, one file each (the baselines share one)."""

from collections.abc import Mapping
from types import MappingProxyType

from climbopt.procedures.baselines import isolated, natural, temperature, uniform, unimax
from climbopt.procedures.joint import joint
from climbopt.procedures.procedure import Answer, ProcedureFunction, SlackRow, TwoStep, joint_form
from climbopt.procedures.two_step import two_step

PROCEDURES: Mapping[str, ProcedureFunction] = MappingProxyType(
    {
        "joint": joint,
        "two_step": two_step,
        "uniform": uniform,
        "natural": natural,
        "temperature": temperature,
        "unimax": unimax,
        "isolated": isolated,
    }
)

BASELINES = ("uniform", "natural", "temperature", "unimax", "isolated")
"""Procedures of which the certificate asks for no more than feasibility."""

__all__ = ["BASELINES", "PROCEDURES", "Answer", "ProcedureFunction", "SlackRow", "TwoStep", "joint_form"]
