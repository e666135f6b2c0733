"""What the resources do beyond being stored; importing this makes all of them known.

How things move on the sandbox's clock:

- A new or restored database is ready after one second. It gets a backup every day, each kept for a week.
- A deployment is new until it is started; it runs after one second, and has stopped one second after it was told to.
- A build that nobody reports on is building after two seconds, deploying after six and done after ten.
- A domain is pending until its records were asked for; from the next look it is verified, and one second after that
  first look it is active. A host name under `.invalid` fails instead.
- An approval is granted after one second and expires after ten minutes.
- An install URL works once, within ten minutes. The lease on a stage ends with its lifetime, a workflow's token too.
"""

from prisma_mgmt.sandbox.resources import account, alchemy, builds, databases, github, projects, services

__all__ = ["account", "alchemy", "builds", "databases", "github", "projects", "services"]
