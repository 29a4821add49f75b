"""Suite → stages with content keys: what is cached, pending or refused, and why."""

from fpbench.plan.backbones import PlannedBackbone, plan_backbones
from fpbench.plan.codes import book_of, is_reserved, issued_codes, users_codes
from fpbench.plan.data import DataFacts
from fpbench.plan.plan import Plan, make_plan
from fpbench.plan.points import AttackPoint, Cell, Fit, Point, Want
from fpbench.plan.stages import Graph, Kind, Stage, graph_of

__all__ = [
    "AttackPoint",
    "Cell",
    "DataFacts",
    "Fit",
    "Graph",
    "Kind",
    "Plan",
    "PlannedBackbone",
    "Point",
    "Stage",
    "Want",
    "book_of",
    "graph_of",
    "is_reserved",
    "issued_codes",
    "make_plan",
    "plan_backbones",
    "users_codes",
]
