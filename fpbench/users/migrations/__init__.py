"""How the tables of a registry came to be, version by version; Alembic runs them."""
