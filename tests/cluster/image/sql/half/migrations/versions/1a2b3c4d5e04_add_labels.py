"""add labels"""

import sqlalchemy as sa
from alembic import op

revision = "1a2b3c4d5e04"
down_revision = "1a2b3c4d5e03"


def upgrade():
    op.create_table(
        "labels",
        sa.Column("todo", sa.Integer, sa.ForeignKey("todos.id"), primary_key=True),
        sa.Column("label", sa.Text, primary_key=True),
    )


def downgrade():
    op.drop_table("labels")
