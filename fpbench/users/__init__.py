"""The registry of real users: who holds which code of which model; no benchmark reads it.

`fpbench.users.Registry` keeps it, `fpbench.users.nearest` and `above` search its codes.
"""

from fpbench.api import MissingResource

try:
    import alembic  # noqa: F401 - asked here once for all modules of the package
    import sqlalchemy  # noqa: F401
except ImportError as error:
    raise MissingResource(
        f"users: a registry needs SQLAlchemy and Alembic, which cannot be imported here ({error}); "
        "run in fpbench's folder: uv sync --extra registry (or pip install 'fpbench[registry]')"
    ) from error

from fpbench.users.codes import Draw, uniform
from fpbench.users.evidence import Report, TracedImage, read_report
from fpbench.users.inquiry import Inquiry, checked
from fpbench.users.registry import Registry
from fpbench.users.rows import Imported, Issued, Model, Owner
from fpbench.users.search import Found, Hits, above, nearest

__all__ = [
    "Draw",
    "Found",
    "Hits",
    "Imported",
    "Inquiry",
    "Issued",
    "Model",
    "Owner",
    "Registry",
    "Report",
    "TracedImage",
    "above",
    "checked",
    "nearest",
    "read_report",
    "uniform",
]
