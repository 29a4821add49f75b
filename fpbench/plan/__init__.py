"""Suite → stages with content keys: what is cached, pending or refused, and why."""

from fpbench.plan.codes import is_reserved, issued_codes
from fpbench.plan.plan import AttackPoint, Cell, Fit, Plan, Point, make_plan

__all__ = [
    "AttackPoint",
    "Cell",
    "Fit",
    "Plan",
    "Point",
    "is_reserved",
    "issued_codes",
    "make_plan",
]
