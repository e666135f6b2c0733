"""Models in Litestar: `Litestar([…], plugins=[ModelPlugin()])` lets handlers take and give them.

Without it Litestar writes a model's attributes by their Python names, with its secrets; and so it does if a handler's
return type does not name the model: annotate `-> Project` or `-> list[Project]`, not `-> dict`.
"""

from typing import Any, TypeVar, cast

import attrs
from litestar.dto import AbstractDTO
from litestar.exceptions import ValidationException
from litestar.openapi.spec import Reference, Schema
from litestar.plugins import OpenAPISchemaPlugin, SerializationPlugin
from litestar.typing import FieldDefinition

from prisma_mgmt.core.codec import Mismatch, NoJSON, decode
from prisma_mgmt.core.encoding import plain
from prisma_mgmt.core.kinds import default_of, fields, json_key
from prisma_mgmt.core.model import Model, shown

T = TypeVar("T")


class ModelPlugin(SerializationPlugin, OpenAPISchemaPlugin):
    """Reads and writes models as `from_dict` and `to_dict` do, secrets masked, and shows the API's keys."""

    def supports_type(self, field_definition: FieldDefinition) -> bool:
        return field_definition.is_subclass_of(Model)

    def create_dto_for_type(self, field_definition: FieldDefinition) -> type[AbstractDTO[Any]]:  # noqa: ARG002  # Litestar's protocol
        return _Models

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        return isinstance(value, type) and issubclass(value, Model)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        model = field_definition.annotation
        properties = {json_key(one): FieldDefinition.from_annotation(shown(one.type, str)) for one in fields(model)}
        required = [json_key(one) for one in fields(model) if default_of(one) is attrs.NOTHING]
        made = schema_creator.create_component_schema(field_definition, required=required, property_fields=properties)
        return cast("Schema", made)


class _Models(AbstractDTO[T]):
    @classmethod
    def is_supported_model_type_field(cls, field_definition: FieldDefinition) -> bool:  # noqa: ARG003  # as above
        return True  # the plugin has looked

    @classmethod
    def create_for_field_definition(cls, *args: Any, **options: Any) -> None:
        """Make nothing: our own hooks read and write."""

    @classmethod
    def generate_field_definitions(cls, model_type: Any) -> Any:  # noqa: ARG003  # as above
        return iter(())

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:  # noqa: ARG003  # as above
        return False

    @classmethod
    def create_openapi_schema(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,  # noqa: ARG003  # as above
        schema_creator: Any,
    ) -> Reference | Schema:
        schema: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return schema

    def decode_bytes(self, value: bytes) -> Any:
        handler = cast("Any", self).asgi_connection.route_handler
        try:
            return decode(value, cast("type[Any]", handler.parsed_data_field.annotation))
        except NoJSON:
            told = "the body is no JSON"
        except Mismatch as mismatch:
            told = f"{mismatch.path or 'the body'}: {mismatch.problem}"
        raise ValidationException(told)

    def data_to_encodable_type(self, data: Any) -> Any:
        return plain(data, secrets=False)
