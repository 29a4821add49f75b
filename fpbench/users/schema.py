"""The tables of a registry, as `migrations` make them.

A code is never deleted or changed; its row goes from active to revoked or rotated, once. Each of
these steps has an entry in `log`, whose hash covers the one before it.
"""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

ACTIVE, REVOKED, ROTATED = "active", "revoked", "rotated"
"""What a code can be."""

# SQLite counts up only what is called INTEGER.
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

MODEL = sa.Table(
    "model",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("bits", sa.Integer, nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
"""One trained method; times are microseconds since 1970, UTC."""

CODE = sa.Table(
    "code",
    METADATA,
    sa.Column("model_id", sa.Integer, sa.ForeignKey("model.id"), primary_key=True),
    sa.Column("number", _KEY, primary_key=True, autoincrement=False),
    sa.Column("user_name", sa.Text, nullable=False),
    sa.Column("code", sa.LargeBinary, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("issued_at", sa.BigInteger, nullable=False),
    sa.Column("changed_at", sa.BigInteger),
    sa.Column("reason", sa.Text, nullable=False),
    sa.CheckConstraint("status IN ('active', 'revoked', 'rotated')", name="known_status"),
    sa.UniqueConstraint("model_id", "code", name="one_owner"),
)
"""The codes of a model, numbered from 0 without gaps in the order in which they were issued."""

CURRENT = sa.text("status <> 'rotated'")
"""Which rows are a user's own now: one for each user and model."""

sa.Index(
    "current_code",
    CODE.c.model_id,
    CODE.c.user_name,
    unique=True,
    sqlite_where=CURRENT,
    postgresql_where=CURRENT,
)
FORMER = sa.text("status = 'rotated'")
"""Which rows were a user's own; few, so that a second index costs little."""

sa.Index(
    "former_code",
    CODE.c.model_id,
    CODE.c.user_name,
    sqlite_where=FORMER,
    postgresql_where=FORMER,
)

LOG = sa.Table(
    "log",
    METADATA,
    sa.Column("seq", _KEY, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("model_id", sa.Integer, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
)
"""Append-only; `digest` is that of the row after the step, `number` -1 where the row is a model."""
