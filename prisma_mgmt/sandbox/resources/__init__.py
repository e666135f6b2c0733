"""What the resources do beyond being stored, a file for each; importing this makes all of them known."""

from prisma_mgmt.sandbox.resources import (  # noqa: F401, I001  # each of them registers what it does
    account, alchemy, branches, buckets, builds, connections, databases, deployments, domains, environments, github,
    projects, service_tokens, services, topology, variables,
)  # fmt: skip
