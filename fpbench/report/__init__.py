"""Records → tables → HTML. pandas and jinja2 are imported here and nowhere else."""
