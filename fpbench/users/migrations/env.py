"""Called by Alembic; the connection is lent by `fpbench.users.database`, which commits."""

from alembic import context

from fpbench.users.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
)
context.run_migrations()
