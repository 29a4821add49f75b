import pytest

for package in ("fastapi", "uvicorn", "python_multipart", "sqlalchemy", "httpx2"):
    pytest.importorskip(package, reason=f"{package} is not installed: uv sync --extra serve")
