"""Whole valid answers for tests, as JSON in the API's own keys: `factories.project(name="shop")`.

A factory takes the fields of its model by their Python names, and gives all the others. Nested ones compose:
`factories.project(workspace=factories.resource_ref(name="acme"))`. `answer` and `page` put the result into the envelope
that most routes answer. Here are those of the Management API; `factories.postgres` and `factories.data_platform` have
those of the other two.
"""

from prisma_mgmt.factories import data_platform as data_platform
from prisma_mgmt.factories import postgres as postgres
from prisma_mgmt.factories.making import Factory as Factory
from prisma_mgmt.factories.making import answer as answer
from prisma_mgmt.factories.making import page as page
from prisma_mgmt.factories.management import *  # noqa: F403  # generated, and all of it public
