"""The jobs that people write by hand around an API, as functions over a client and its models.

Wherever a thing is named, its id will do, or a model of it. `timeout` and `interval` are in seconds, and `on_change` is
called with each new state, for progress. What ran out of time is a TimeoutError that names the last state, and what
failed is a PrismaError that names it.
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
