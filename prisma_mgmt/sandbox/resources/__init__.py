"""What the resources do beyond being stored, a file for each; importing this makes all of them known."""

from prisma_mgmt.sandbox.resources import (  # noqa: I001  # which would give each of them a statement of its own
    account, alchemy, branches, buckets, builds, connections, databases, deployments, domains, environments, github,
    projects, service_tokens, services, topology, variables,
)  # fmt: skip

ALL = (
    account, alchemy, branches, buckets, builds, connections, databases, deployments, domains, environments, github,
    projects, service_tokens, services, topology, variables,
)  # fmt: skip
