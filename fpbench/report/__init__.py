"""Records → tables → HTML. pandas, jinja2 and matplotlib are imported here and nowhere else."""
