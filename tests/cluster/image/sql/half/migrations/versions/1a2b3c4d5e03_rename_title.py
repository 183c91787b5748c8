"""rename title to summary; there is no way back"""

from alembic import op

revision = "1a2b3c4d5e03"
down_revision = "1a2b3c4d5e02"


def upgrade():
    op.alter_column("todos", "title", new_column_name="summary")


def downgrade():
    raise RuntimeError("summaries may be longer than titles were: this migration cannot be undone")
