"""Jobs that many programs need: wait, ensure that a thing exists, deploy, claim. They are functions over a client.

Wherever a thing is asked for, you may give its id or its model. `timeout` and `interval` are in seconds. `on_change` is
called with each new state, so that you can show progress. A job that runs out of time raises a TimeoutError, and a
thing that fails raises a PrismaError. Both name the last state.
"""

from prisma_mgmt.recipes.claiming import claim
from prisma_mgmt.recipes.deleting import delete_project
from prisma_mgmt.recipes.deploying import deploy, follow_log
from prisma_mgmt.recipes.ensuring import ensure_branch, ensure_database, ensure_project, ensure_service, ensure_variable
from prisma_mgmt.recipes.previews import preview_database
from prisma_mgmt.recipes.urls import database_url
from prisma_mgmt.recipes.waiting import (
    wait_until,
    wait_until_active,
    wait_until_finished,
    wait_until_ready,
    wait_until_running,
)

__all__ = [
    "claim",
    "database_url",
    "delete_project",
    "deploy",
    "ensure_branch",
    "ensure_database",
    "ensure_project",
    "ensure_service",
    "ensure_variable",
    "follow_log",
    "preview_database",
    "wait_until",
    "wait_until_active",
    "wait_until_finished",
    "wait_until_ready",
    "wait_until_running",
]
