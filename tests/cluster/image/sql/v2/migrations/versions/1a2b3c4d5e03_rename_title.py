"""rename title to summary"""

from alembic import op

revision = "1a2b3c4d5e03"
down_revision = "1a2b3c4d5e02"


def upgrade():
    op.alter_column("todos", "title", new_column_name="summary")


def downgrade():
    op.alter_column("todos", "summary", new_column_name="title")
