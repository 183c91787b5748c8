"""create todos"""

import sqlalchemy as sa
from alembic import op

revision = "1a2b3c4d5e01"
down_revision = None


def upgrade():
    op.create_table(
        "todos",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False, server_default="false"),
    )
    op.execute("INSERT INTO todos (title) VALUES ('water the plants'), ('call the bank')")


def downgrade():
    op.drop_table("todos")
