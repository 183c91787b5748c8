"""add due date"""

import sqlalchemy as sa
from alembic import op

revision = "1a2b3c4d5e02"
down_revision = "1a2b3c4d5e01"


def upgrade():
    op.add_column("todos", sa.Column("due", sa.Date))


def downgrade():
    op.drop_column("todos", "due")
