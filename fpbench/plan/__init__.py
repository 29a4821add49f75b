"""Suite → stages with content keys: what is cached, pending or refused, and why."""

from fpbench.plan.backbones import PlannedBackbone, plan_backbones
from fpbench.plan.codes import is_reserved, issued_codes, uniform
from fpbench.plan.data import DataFacts
from fpbench.plan.plan import AttackPoint, Cell, Fit, Plan, Point, Want, make_plan

__all__ = [
    "AttackPoint",
    "Cell",
    "DataFacts",
    "Fit",
    "Plan",
    "PlannedBackbone",
    "Point",
    "Want",
    "is_reserved",
    "issued_codes",
    "make_plan",
    "plan_backbones",
    "uniform",
]
