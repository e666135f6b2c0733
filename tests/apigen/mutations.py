"""What real descriptions do, as changes of one small document, each with the code or the refusal that is right.

`patch` puts a value at a JSON pointer, or takes away what stands there (GONE). `code` are lines of the code.
`refused` is the pointer and the reason of each operation that is left out; everything else has to be generated.
"""

import json
from typing import Any

from attrs import field, frozen

GONE: Any = object()
LIST, ONE = "/paths/~1v1~1widgets", "/paths/~1v1~1widgets~1{widgetId}"
FIELDS, ANSWER = "/components/schemas/Widget/properties", f"{ONE}/get/responses/200/content/application~1json/schema"
BODY = f"{LIST}/post/requestBody/content/application~1json/schema"
TEXT, NUMBER = {"type": "string"}, {"type": "number"}
ID: Any = {"name": "widgetId", "in": "path", "required": True, "schema": TEXT}


@frozen
class Mutation:
    name: str
    patch: dict[str, Any]
    code: dict[str, list[str]] = field(factory=dict[str, list[str]])
    refused: list[str] = field(factory=list[str])
    absent: list[str] = field(factory=list[str])  # what must not stand in any module


def thing(**fields: Any) -> Any:
    """An object, all of whose fields are required."""
    return {"type": "object", "properties": fields, "required": list(fields)}


def json_of(schema: Any) -> Any:
    return {"content": {"application/json": {"schema": schema}}}


def answer(schema: Any) -> Any:
    return {"description": "", **json_of(schema)}


def data(schema: Any, **beside: Any) -> Any:
    return answer(thing(data=schema, **beside))


def op(success: Any, status: str = "200", **rest: Any) -> Any:
    return {"responses": {status: success}, **rest}


REF = {"$ref": "#/components/schemas/Widget"}
PAGE = thing(nextCursor={"type": ["string", "null"]}, hasMore={"type": "boolean"})
CURSOR = {"name": "cursor", "in": "query", "schema": TEXT}
BASE: Any = {
    "openapi": "3.1.0",
    "info": {"title": "Things API", "version": "v1"},
    "servers": [{"url": "https://things.example"}],
    "paths": {
        "/v1/widgets": {
            "get": op(data({"type": "array", "items": REF}, pagination=PAGE), parameters=[CURSOR]),
            "post": op(data(REF), "201", requestBody=json_of(thing(name=TEXT))),
        },
        "/v1/widgets/{widgetId}": {
            "get": op(data(REF), parameters=[ID]),
            "delete": op({"description": ""}, "204", parameters=[ID]),
        },
    },
    "components": {"schemas": {"Widget": thing(id=TEXT, name=TEXT)}},
}


def patched(patch: dict[str, Any], base: Any = BASE) -> Any:
    made = json.loads(json.dumps(base))
    for pointer, value in patch.items():
        *steps, last = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
        found = made
        for step in steps:
            found = found[int(step)] if isinstance(found, list) else found.setdefault(step, {})
        if value is GONE:
            del found[last]
        else:
            found[last] = json.loads(json.dumps(value))
    return made


def fields(**more: Any) -> dict[str, Any]:
    """More fields of a widget, none of them required."""
    return {f"{FIELDS}/{key}": value for key, value in more.items()}


def odd_fields(*keys: str) -> dict[str, Any]:
    return {f"{FIELDS}/{key}": TEXT for key in keys}


def parameter(name: str, schema: Any, where: str = "query", at: str = f"{LIST}/get", **rest: Any) -> dict[str, Any]:
    return {f"{at}/parameters": [CURSOR, {"name": name, "in": where, "schema": schema, **rest}]}


W = "widgets.py"
MUTATIONS = [
    Mutation(
        "nothing", {}, {W: ["class Widget(Model):", "def list(self, *, cursor: str | None = None) -> Pager[Widget]:"]}
    ),
    # Secrets
    Mutation(
        "fields that look like secrets",
        fields(
            accessToken=TEXT,
            webhookSecret=TEXT,
            adminPassword={"type": ["string", "null"]},
            tokens={"type": "array", "items": TEXT},
            databaseUrl=TEXT,
            directUrl=TEXT,
            jwt=TEXT,
        ),
        {
            W: [
                "database_url: Secret | None = None",
                "direct_url: Secret | None = None",
                "jwt: Secret | None = None",
                "access_token: Secret | None = None",
                "webhook_secret: Secret | None = None",
                "admin_password: Secret | None = None",
                "tokens: list[Secret] | None = None",
            ]
        },
    ),
    Mutation(
        "fields that do not",
        fields(
            tokenHint=TEXT,
            passwordChangedAt=TEXT,
            nextPageToken=TEXT,
            secretCount=NUMBER,
            tokenType={"enum": ["a", "b"]},
            key=TEXT,
            deployedUrl=TEXT,
        ),
        {
            W: [
                "token_hint: str | None = None",
                "password_changed_at: datetime | None = None",
                "next_page_token: str | None = None",
                "secret_count: int | None = None",
                "key: str | None = None",
                "deployed_url: str | None = None",
            ]
        },
        absent=["Secret"],
    ),
    Mutation(
        "a secret that the caller gives",
        {f"{BODY}/properties/apiKey": TEXT},
        {
            W: [
                'api_key = api_key and secret(api_key, "api_key")',
                'return await self._post(Widget, "/v1/widgets", {"name": name, "apiKey": api_key})',
            ]
        },
    ),
    Mutation(
        "a create that answers a secret, beside a get",
        {f"{LIST}/post/responses/201": data(thing(id=TEXT, name=TEXT, secretKey=TEXT))},
        {
            W: [
                "class CreatedWidget(Model):",
                "secret_key: Secret",
                "async def create(self, *, name: str) -> CreatedWidget:",
                "async def get(self, widget_id: str) -> Widget:",
            ]
        },
    ),
    Mutation(
        "a create that answers a secret, and whose parts look like those of a get",
        {
            **fields(part=thing(size=NUMBER)),
            f"{LIST}/post/responses/201": data(thing(id=TEXT, secretKey=TEXT, part=thing(size=NUMBER))),
        },
        {W: ["class CreatedWidget(Model):", "part: WidgetPart\n", "part: WidgetPart | None = None"]},
        absent=["CreatedWidgetPart"],
    ),
    Mutation(
        "what a caller gives, in fields that are answered in another shape",
        {
            **fields(part=thing(size=NUMBER), state={"enum": ["new", "old"]}),
            f"{BODY}/properties/part": thing(size=TEXT),
            f"{BODY}/properties/state": {"enum": ["new"]},
        },
        {W: ["part: WidgetPartInput | Unset = UNSET", "state: WidgetStateChoice | Unset = UNSET"]},
    ),
    Mutation(
        "a value of a key",
        {"/paths/~1v1~1api-keys": {"post": op(data(thing(id=TEXT, value=TEXT)), "201")}},
        {"api_keys.py": ["class CreatedApiKey(Model):", "value: Secret"]},
    ),
    # Names
    Mutation(
        "a resource without a plural, and its model",
        {
            "/paths/~1v1~1usage": {"get": op(data(thing(used=NUMBER)))},
            "/paths/~1v1~1me": {"get": op(data(thing(id=TEXT)))},
        },
        {
            "usage.py": ["class UsageInfo(Model):", "class Usage(Resource):", "async def get(self) -> UsageInfo:"],
            "me.py": ["class MeInfo(Model):", "async def get(self) -> MeInfo:"],
        },
    ),
    Mutation(
        "resources that have the names of Python and of ours",
        {
            f"/paths/~1v1~1{name}": {"get": op(data({"type": "array", "items": thing(id=TEXT)}))}
            for name in ("import", "models", "shared", "list", "request", "class")
        },
        {
            "import_.py": ["class Import(Resource):"],
            "models_.py": ["class Models(Resource):", "def list(self) -> Pager[Model"],
            "list.py": ["class List(Resource):"],
            "request_.py": ["class Request(Resource):"],
            "shared_.py": [],
            "class_.py": [],
        },
    ),
    Mutation(
        "fields that have the names of Python and of ours",
        fields(
            **{
                name: {"type": "array", "items": TEXT}
                for name in ("list", "field", "type", "self", "class", "str", "dict", "toDict")
            }
        ),
        {
            W: [
                "list_: list[str] | None = None",
                "field_: list[str] | None = None",
                "self_: list[str] | None = None",
                "class_: list[str] | None = None",
                "to_dict_: list[str] | None = None",
                "type: list[str] | None = None",
            ]
        },
    ),
    Mutation(
        "fields whose names differ in what Python does not see",
        odd_fields("fooBar", "foo_bar", "foo-bar", "2fa", "größe", "@type", "x y", "$id"),
        {
            W: [
                "foo_bar: str | None = None",
                'foo_bar_2: str | None = field(default=None, metadata={"key": "foo_bar"})',
                'foo_bar_3: str | None = field(default=None, metadata={"key": "foo-bar"})',
                'x_2fa: str | None = field(default=None, metadata={"key": "2fa"})',
                "größe: str | None = None",
                'type: str | None = field(default=None, metadata={"key": "@type"})',
                'x_y: str | None = field(default=None, metadata={"key": "x y"})',
            ]
        },
    ),
    Mutation(
        "names without a letter",
        {
            **odd_fields("€", "$", "a৴"),
            **parameter("%", TEXT),
            "/paths/~1v1~1@@": {"get": op(data(thing(**{"€": TEXT})))},
        },
        {
            W: [
                'x: str | None = field(default=None, metadata={"key": "€"})',
                'x_2: str | None = field(default=None, metadata={"key": "$"})',
                'x_3: str | None = field(default=None, metadata={"key": "a৴"})',
                '{"cursor": cursor, "%": x}',
            ],
            "x.py": ["class X(Resource):", 'x: str = field(metadata={"key": "€"})'],
        },
    ),
    Mutation(
        "an object in a field whose name is a star",
        fields(**{"*": thing(size=NUMBER)}),
        {W: ["class WidgetX(Model):", 'extra: WidgetX | None = field(default=None, metadata={"key": "*"})']},
    ),
    Mutation(
        "an object in a field without a name",
        fields(**{"": thing(size=NUMBER)}),
        {W: ["class WidgetX(Model):", 'value: WidgetX | None = field(default=None, metadata={"key": ""})']},
    ),
    Mutation(
        "keywords that have the names of Python and of ours",
        {
            f"{BODY}/properties/{key}": TEXT
            for key in ("from", "body", "query", "path", "self", "headers", "widget-size", "2fa")
        },
        {
            W: [
                '"from": from_,',
                '"body": body_,',
                '"query": query_,',
                '"path": path_,',
                '"self": self_,',
                '"widget-size": widget_size,',
                '"2fa": x_2fa,',
            ]
        },
    ),
    Mutation(
        "one keyword in two places",
        {
            f"{ONE}/patch": op(
                data(REF),
                parameters=[ID, {"name": "name", "in": "query", "schema": TEXT}],
                requestBody=json_of(thing(name=TEXT)),
            )
        },
        {W: ['widget_id), {"name": name_body}, query={"name": name})']},
    ),
    Mutation(
        "nested routes and actions",
        {
            f"{ONE.replace('}', '}~1parts')}": {
                "get": op(data({"type": "array", "items": thing(id=TEXT)}), parameters=[ID])
            },
            f"{ONE.replace('}', '}~1parts~1{partId}~1spin')}": {
                "post": op(data(thing(speed=NUMBER)), parameters=[ID, {**ID, "name": "partId"}])
            },
            f"{ONE.replace('}', '}~1usage')}": {"get": op(data(thing(used=NUMBER)), parameters=[ID])},
            f"{ONE}:archive": {"post": op({"description": ""}, "204", parameters=[ID])},
            "/paths/~1v1~1widgets~1search": {"post": op(data({"type": "array", "items": REF}))},
        },
        {
            W: [
                "def list_parts(self, widget_id: str) -> Pager[Part]:",
                "async def spin_part(self, widget_id: str, part_id: str) -> WidgetSpinPart:",
                "async def usage(self, widget_id: str) -> WidgetUsage:",
                "async def archive(self, widget_id: str) -> None:",
                "async def search(self) -> builtins.list[Widget]:",
            ]
        },
    ),
    Mutation(
        "two models that are alike",
        {"/paths/~1v1~1teams": {"get": op(data({"type": "array", "items": thing(id=TEXT, name=TEXT)}))}},
        {"teams.py": ["class Team(Model):", "def list(self) -> Pager[Team]:"]},
    ),
    Mutation(
        "models that have the names of ours",
        {
            "/components/schemas/Pager": thing(id=TEXT),
            f"{FIELDS}/pager": {"$ref": "#/components/schemas/Pager"},
            "/components/schemas/Widgets": thing(id=TEXT),
            f"{FIELDS}/more": {"$ref": "#/components/schemas/Widgets"},
        },
        {W: ["class PagerInfo(Model):", "pager: PagerInfo | None = None", "class WidgetsInfo(Model):"]},
    ),
    Mutation(
        "an answer whose model is called like what a list gives",
        {
            "/components/schemas/Pager": thing(size=NUMBER),
            f"{ANSWER}/properties/data": {"$ref": "#/components/schemas/Pager"},
        },
        {W: ["async def get(self, widget_id: str) -> PagerInfo:", "return await self._get(PagerInfo, "]},
    ),
    Mutation(
        "enumerations of strange words",
        fields(state={"enum": ['a"b', "naïve", "😀", "a\\b"]}),
        {W: ['WidgetState: TypeAlias = Literal[\'a"b\', "naïve", "😀", "a\\\\b"] | str']},
    ),
    Mutation(
        "resources whose classes would have the names of ours",
        {
            f"/paths/~1v1~1{name}": {
                "get": op(data({"type": "array", "items": thing(id=TEXT)})),
                "post": op(data(thing(id=TEXT)), "201", requestBody=json_of(thing(token=TEXT, secret=TEXT))),
            }
            for name in ("secret", "model", "resource", "unset", "sequence", "true", "base-client")
        },
        {
            "secret_api.py": [
                "class SecretApi(Resource):",
                'token = secret(token, "token")',
                'secret_ = secret(secret_, "secret_")',
            ],
            "true_api.py": ["class TrueApi(Resource):"],
            "__init__.py": ["class ThingsClient(BaseClient):", "def secret_api(self)"],
        },
    ),
    Mutation(
        "a keyword and a field that look alike",
        {
            **fields(state={"enum": ["new", "old"]}),
            f"{LIST.replace('widgets', 'widgets~1findByState')}": {
                "get": op(
                    data({"type": "array", "items": REF}),
                    parameters=[{"name": "state", "in": "query", "schema": {"enum": ["new", "old"]}}],
                )
            },
            f"{ONE}/put": op(data(REF), parameters=[ID], requestBody=json_of(REF)),
        },
        {W: ["async def replace(", "def list_find_by_state("]},
    ),
    Mutation(
        "a title in quotes, and of two lines",
        {"/info/title": 'The """best""" API\n\\ of all', "/info/version": '"'},
        {"__init__.py": ["best", "class ThingsClient(BaseClient):"]},
    ),
    # What must not be lost
    Mutation(
        "properties beside allOf",
        {
            "/components/schemas/Base": thing(id=TEXT),
            "/components/schemas/Widget": {
                "allOf": [{"$ref": "#/components/schemas/Base"}, {"required": ["size"]}],
                "properties": {"size": NUMBER, "name": TEXT},
                "required": ["name"],
            },
        },
        {W: ["    id: str\n    size: float\n    name: str\n"]},
    ),
    Mutation(
        "one part of allOf, beside which more is required",
        {
            "/components/schemas/Base": {**thing(id=TEXT, name=TEXT), "required": ["id"]},
            "/components/schemas/Widget": {"allOf": [{"$ref": "#/components/schemas/Base"}], "required": ["name"]},
        },
        {W: ["    id: str\n    name: str\n"]},
    ),
    Mutation(
        "a reference with an escape of URLs",
        {
            "/components/schemas/Big part": thing(id=TEXT),
            f"{FIELDS}/part": {"$ref": "#/components/schemas/Big%20part"},
        },
        {W: ["part: WidgetPart | None = None"]},
    ),
    Mutation(
        "ids that are no strings",
        {
            f"{ONE}/get/parameters": [{**ID, "schema": {"type": "integer"}}],
            f"{ONE}/delete/parameters": [{**ID, "schema": {"type": ["string", "null"]}}],
        },
        {W: ["async def get(self, widget_id: int)", "str(widget_id))", "async def delete(self, widget_id: str, *,"]},
    ),
    Mutation(
        "a long path with one id",
        {
            "/paths/~1v1~1widgets~1{widgetId}~1things-that-have-a-name-which-is-too-long": {
                "post": op({"description": ""}, "204", parameters=[ID])
            }
        },
        {W: ['which-is-too-long",']},
    ),
    Mutation(
        "an envelope in parts",
        {
            "/components/schemas/Paged": thing(pagination=PAGE),
            f"{LIST}/get/responses/200": answer(
                {"allOf": [{"$ref": "#/components/schemas/Paged"}, thing(data={"type": "array", "items": REF})]}
            ),
        },
        {W: ["def list(self, *, cursor: str | None = None) -> Pager[Widget]:", "self._pages(Widget,"]},
    ),
    Mutation(
        "further fields of a body",
        {f"{BODY}/additionalProperties": TEXT},
        {
            W: [
                "async def create(self, *, name: str, extra: Mapping[str, str] | None = None) -> Widget:",
                '**(extra or {}), "name": name',
            ]
        },
    ),
    Mutation(
        "further fields of a body, of any kind",
        {f"{BODY}/additionalProperties": True},
        {W: ["async def create(self, *, name: str, extra: Mapping[str, JSON] | None = None) -> Widget:"]},
    ),
    Mutation(
        "a HEAD",
        {f"{ONE}/head": op({"description": ""}, parameters=[ID])},
        {W: ['await self._send("HEAD", path("/v1/widgets/{}", widget_id))']},
    ),
    Mutation(
        "a path item by reference",
        {
            "/components/pathItems/Gears": {"get": op(data({"type": "array", "items": thing(id=TEXT)}))},
            "/paths/~1v1~1gears": {"$ref": "#/components/pathItems/Gears"},
        },
        {"gears.py": ["def list(self) -> Pager[Gear]:"]},
    ),
    Mutation(
        "a body and a parameter by reference",
        {
            "/components/requestBodies/New": json_of(thing(name=TEXT, size=NUMBER)),
            f"{LIST}/post/requestBody": {"$ref": "#/components/requestBodies/New"},
            "/components/parameters/Kind": {"name": "kind", "in": "query", "schema": TEXT, "required": True},
            f"{LIST}/post/parameters": [{"$ref": "#/components/parameters/Kind"}],
        },
        {W: ["async def create(self, *, kind: str, name: str, size: float) -> Widget:"]},
    ),
    Mutation(
        "parameters of a path, one of them overridden",
        {
            f"{LIST}/parameters": [CURSOR, {"name": "kind", "in": "query", "schema": TEXT, "required": True}],
            f"{LIST}/get/parameters": [{"name": "kind", "in": "query", "schema": NUMBER}],
        },
        {
            W: [
                "def list(self, *, cursor: str | None = None, kind: float | None = None) -> Pager[Widget]:",
                "async def create(self, *, kind: str, name: str, cursor: str | None = None) -> Widget:",
            ]
        },
    ),
    Mutation(
        "optional headers",
        {
            f"{LIST}/post/parameters": [
                {"name": "X-Trace", "in": "header", "schema": TEXT},
                {"name": "X-Depth", "in": "header", "schema": {"type": "integer"}},
                {"name": "Authorization", "in": "header", "schema": TEXT},
            ]
        },
        {W: ["self, *, name: str, x_trace: str | None = None, x_depth: int | None = None", "for key, value in"]},
    ),
    Mutation(
        "a required header", parameter("X-Depth", {"type": "integer"}, "header", required=True), refused=[], code={}
    ),
    Mutation(
        "lists in the query",
        {
            f"{LIST}/get/parameters": [
                CURSOR,
                {"name": "ids", "in": "query", "schema": {"type": "array", "items": TEXT}},
                {"name": "tags", "in": "query", "explode": False, "schema": {"type": "array", "items": TEXT}},
            ]
        },
        {W: ["ids: Sequence[str] | None = None", 'tags and ",".join(tags)']},
    ),
    Mutation(
        "lists in the query, in one text",
        {
            f"{LIST}/get/parameters": [
                CURSOR,
                *(
                    {"name": name, "in": "query", "explode": False, "schema": {"type": "array", "items": schema}}
                    for name, schema in {
                        "sizes": NUMBER,
                        "days": {"type": "string", "format": "date-time"},
                        "flags": {"type": "boolean"},
                        "states": {"enum": ["new", "old"]},
                    }.items()
                ),
            ]
        },
        {
            W: [
                'sizes and ",".join(str(one) for one in sizes)',
                'days and ",".join(one.isoformat() for one in days)',
                'flags and ",".join(str(one).lower() for one in flags)',
                'states and ",".join(states)',
            ]
        },
    ),
    Mutation(
        "query on PATCH and PUT",
        {
            f"{ONE}/{http}": op(
                data(REF),
                parameters=[ID, {"name": "dryRun", "in": "query", "schema": {"type": "boolean"}}],
                requestBody=json_of(thing(name=TEXT)),
            )
            for http in ("patch", "put")
        },
        {W: ['{"name": name}, query={"dryRun": dry_run})']},
    ),
    Mutation(
        "readOnly and writeOnly",
        {
            "/components/schemas/Widget": thing(
                id={**TEXT, "readOnly": True}, name=TEXT, pin={**TEXT, "writeOnly": True}
            ),
            f"{LIST}/post/requestBody": json_of(REF),
        },
        {W: ["async def create(self, *, name: str, pin: str) -> Widget:", "    id: str\n    name: str\n"]},
    ),
    Mutation(
        "readOnly inside what a body holds",
        {
            "/components/schemas/Part": thing(id={**TEXT, "readOnly": True}, size=NUMBER),
            f"{FIELDS}/part": {"$ref": "#/components/schemas/Part"},
            f"{BODY}/properties/part": {"$ref": "#/components/schemas/Part"},
        },
        {W: ["class Part(Model):", "class WidgetPart(Model):", "part: WidgetPart | Unset = UNSET"]},
    ),
    Mutation("no token", {f"{ONE}/get/security": []}, {W: ['path("/v1/widgets/{}", widget_id), token=False)']}),
    Mutation("a token that may be missing", {f"{ONE}/get/security": [{}, {"bearer": []}]}, absent=["token=False"]),
    Mutation("no token, in other words", {f"{ONE}/get/security": [{}]}, {W: ["widget_id), token=False)"]}),
    Mutation("no token at all", {"/security": []}, {W: ["token=False"]}),
    Mutation(
        "tokens that are sent as ours",
        {
            "/security": [{"key": []}, {"login": []}],
            f"{LIST}/post/security": [{"header": []}],
            f"{ONE}/delete/security": [{"bearer": []}],
            "/components/securitySchemes": {
                "key": {"type": "apiKey", "in": "query", "name": "key"},
                "login": {"type": "oauth2", "flows": {}},
                "header": {"type": "apiKey", "in": "header", "name": "Authorization"},
                "bearer": {"type": "http", "scheme": "Bearer"},
            },
        },
        {W: ["async def create(", "async def get(", "async def delete("]},
    ),
    Mutation(
        "constants of every type",
        fields(
            version={"const": 3},
            ratio={"const": 1.5},
            live={"const": False},
            nothing={"const": None},
            shape={"const": {"a": 1}},
        ),
        {
            W: [
                "version: int | None = None",
                "ratio: float | None = None",
                "live: bool | None = None",
                "nothing: None = None",
                "shape: JSON | None = None",
            ]
        },
    ),
    Mutation(
        "data that may be null",
        {f"{ANSWER}/properties/data": {"anyOf": [REF, {"type": "null"}]}},
        {W: ["async def get(self, widget_id: str) -> Widget | None:", 'cast("type[Widget | None]", Widget | None)']},
    ),
    Mutation(
        "data that may be null, or is one of several, with a field beside it",
        {
            f"{ONE}/get/responses/200": data({"anyOf": [REF, {"type": "null"}]}, hint=TEXT),
            f"{ONE}/put": op(
                data({"oneOf": [thing(type={"const": "cat"}), thing(type={"const": "dog"}, tail=NUMBER)]}, hint=TEXT),
                parameters=[ID],
            ),
        },
        {
            W: [
                "async def get(self, widget_id: str) -> Widget:",
                "    hint: str\n    # None if null or missing:\n    data: WidgetData | None = None\n",
                "async def replace(self, widget_id: str) -> ReplacedWidget:",
                "    data: ReplacedWidgetCat | ReplacedWidgetDog | dict[str, JSON]\n    hint: str\n",
            ]
        },
    ),
    Mutation(
        "an answer as a whole that may be null",
        {ANSWER: {"anyOf": [thing(data=REF), {"type": "null"}]}},
        {W: ["async def get(self, widget_id: str) -> Widget | None:", "    data: WidgetData\n"]},
    ),
    Mutation(
        "data that is one of several",
        {
            f"{ANSWER}/properties/data": {
                "oneOf": [thing(type={"const": "cat"}, lives=NUMBER), thing(type={"const": "dog"}, tail=NUMBER)]
            }
        },
        {W: ["async def get(self, widget_id: str) -> WidgetCat | WidgetDog | dict[str, JSON]:"]},
    ),
    Mutation(
        "data that is an enumeration",
        {
            f"{ANSWER}/properties/data": {"enum": ["on", "off"]},
            "/paths/~1v1~1modes": {"get": op(data({"type": "array", "items": {"enum": ["on", "off"]}}))},
        },
        {W: ["async def get(self, widget_id: str) -> Widget:", 'Widget: TypeAlias = Literal["on", "off"] | str']},
    ),
    Mutation(
        "words beside a reference, and a part alone",
        {
            BODY: {"oneOf": [thing(name=TEXT)]},
            "/components/schemas/State": {"enum": ["new", "old", None]},
            "/components/schemas/Part": thing(id=TEXT),
            **fields(
                state={"allOf": [{"$ref": "#/components/schemas/State"}], "description": "How it is."},
                part={"oneOf": [{"allOf": [{"$ref": "#/components/schemas/Part"}], "deprecated": True}]},
                kind={"anyOf": [{"const": "big"}, {"enum": ["small", "tiny"]}]},
            ),
        },
        {
            W: [
                "async def create(self, *, name: str) -> Widget:",
                "state: State | None = None",
                "part: Part | None = None  # deprecated",
                'State: TypeAlias = Literal["new", "old"] | str',
                'WidgetKind: TypeAlias = Literal["big", "small", "tiny"] | str',
            ]
        },
    ),
    Mutation(
        "null beside what may be null already",
        {
            "/components/schemas/State": {"type": ["string", "null"], "enum": ["new", "old", None]},
            "/components/schemas/Hint": {"type": ["string", "null"]},
            **fields(
                state={"anyOf": [{"$ref": "#/components/schemas/State"}, {"type": "null"}]},
                hint={"anyOf": [{"$ref": "#/components/schemas/Hint"}, {"type": "null"}]},
            ),
        },
        {W: ["state: State | None = None", "hint: str | None = None"]},
    ),
    Mutation(
        "models of one name that differ in what their lists or maps hold",
        {
            "/paths/~1v1~1parts": {
                "get": op(data({"type": "array", "items": thing(sizes={"type": "array", "items": TEXT})})),
                "post": op(data(thing(sizes={"type": "array", "items": NUMBER})), "201"),
            },
            "/paths/~1v1~1gears": {
                "get": op(
                    data({"type": "array", "items": thing(sizes={"type": "object", "additionalProperties": TEXT})})
                ),
                "post": op(data(thing(sizes={"type": "object", "additionalProperties": NUMBER})), "201"),
            },
        },
        {
            "parts.py": ["sizes: list[str]", "class CreatedPart(Model):", "sizes: list[float]"],
            "gears.py": ["sizes: dict[str, str]", "class CreatedGear(Model):", "sizes: dict[str, float]"],
        },
    ),
    Mutation(
        "what is nearly something else",
        {
            "/components/schemas/Widget/additionalProperties": True,
            "/components/schemas/Part": thing(id=TEXT),
            **fields(
                flag={"enum": ["true", "false"]},
                part={"allOf": [{"$ref": "#/components/schemas/Part"}], "properties": {"size": NUMBER}},
            ),
        },
        {
            W: [
                'WidgetFlag: TypeAlias = Literal["true", "false"] | str',
                "class WidgetPart(Model):",
                "    id: str\n    # None if null or missing:\n    size: float | None = None\n",
            ]
        },
    ),
    Mutation(
        "a map of lists",
        fields(labels={"type": "object", "additionalProperties": {"type": "array", "items": TEXT}}),
        {W: ["labels: dict[str, list[str]] | None = None"]},
    ),
    Mutation(
        "answers 202 and 2XX",
        {
            f"{LIST}/post/responses": {"202": data(REF)},
            f"{ONE}/get/responses": {"2XX": data(REF), "4XX": {"description": ""}},
        },
        {W: ["async def create(self, *, name: str) -> Widget:", "async def get(self, widget_id: str) -> Widget:"]},
    ),
    Mutation(
        "a delete that answers what it deleted",
        {f"{ONE}/delete/responses": {"200": data(REF)}},
        {W: ['return await self._request(Widget, "DELETE", path("/v1/widgets/{}", widget_id))']},
    ),
    Mutation(
        "a body that is a list, and one that is a map",
        {
            f"{LIST}/post/requestBody": json_of({"type": "array", "items": thing(size=NUMBER)}),
            f"{LIST}/put": op(
                {"description": ""}, "204", requestBody=json_of({"type": "object", "additionalProperties": NUMBER})
            ),
        },
        {W: ["async def create(self, *, value: Sequence[WidgetInput]) -> Widget:", "value: Mapping[str, float]"]},
    ),
    Mutation(
        "answers that are null",
        {
            f"{ONE}/get/responses/200": answer({"type": "null"}),
            f"{ONE}/put": op(data({"type": "null"}), parameters=[ID]),
        },
        {W: ["async def get(self, widget_id: str) -> None:", "        await self._get(object, path("]},
    ),
    Mutation(
        "a list of lists, beside a method called list",
        {f"{ONE}/get/responses/200": answer({"type": "array", "items": {"type": "array", "items": NUMBER}})},
        {W: ["def list_widget(self, widget_id: str) -> Pager[builtins.list[float]]:"]},
    ),
    Mutation(
        "servers that no client could call, before one that it could",
        {
            "/servers": [
                {"url": url}
                for url in (
                    "/v1",
                    "http://things.example",
                    "https://{region}.things.example",
                    'https://things.example/"',
                    "https://things.example?a=b",
                    "https://eu.things.example",
                )
            ]
        },
        {"__init__.py": ['base_url = "https://eu.things.example"']},
    ),
    Mutation("extensions among the paths", {"/paths/x-internal": True, "/paths/x-more": {"get": {}}}),
    Mutation(
        "a field called data among others",
        {f"{ANSWER}": thing(data=TEXT, checksum=TEXT)},
        {W: ["    data: str\n    checksum: str\n"]},
    ),
    Mutation(
        "deprecated: as a keyword, an extension, in words",
        {
            f"{ONE}/get/deprecated": True,
            f"{ONE}/delete/x-deprecated": True,
            f"{LIST}/post/description": "Deprecated: use something else.",
            **fields(old={**TEXT, "deprecated": True}, older={**TEXT, "description": "Deprecated. See name."}),
        },
        {
            W: [
                '@deprecated("The API deprecates it.")\n    async def get',
                '@deprecated("The API deprecates it.")\n    async def delete',
                '@deprecated("The API deprecates it.")\n    async def create',
                "old: str | None = None  # deprecated",
                "older: str | None = None  # deprecated",
            ]
        },
    ),
    Mutation(
        "a word that only sounds deprecated",
        {f"{ONE}/get/description": "Replaces the deprecated route of old. Experimental data is left out."},
        absent=["deprecated", "experimental"],
    ),
    Mutation(
        "experimental: as an extension, in words",
        {
            f"{ONE}/get/x-experimental": True,
            f"{ONE}/delete/x-stability": "beta",
            f"{LIST}/post/summary": "Make a widget (experimental)",
            **fields(new={**TEXT, "x-experimental": True}),
        },
        {
            W: [
                "GET /v1/widgets/{widgetId} (experimental)",
                "DELETE /v1/widgets/{widgetId} (experimental)",
                "POST /v1/widgets (experimental)",
                '"""Make a widget.',
                "new: str | None = None  # experimental",
            ]
        },
    ),
    Mutation("a deprecated parameter", parameter("kind", TEXT, deprecated=True), {W: ["`kind` is deprecated."]}),
    Mutation(
        "a deprecated field that is required",
        {f"{FIELDS}/name/deprecated": True},
        {W: ["    # None if null or missing:\n    name: str | None = None  # deprecated"]},
    ),
    # What is harmless
    Mutation(
        "words that say nothing about shapes",
        {
            **fields(
                size={
                    "type": "number",
                    "multipleOf": 2,
                    "exclusiveMinimum": 0,
                    "x-unit": "mm",
                    "$comment": "c",
                    "examples": [2],
                },
                note={"anyOf": [TEXT, {"type": "null", "description": "none"}]},
                tags={"type": "array", "items": TEXT, "minItems": 1, "uniqueItems": True, "contains": TEXT},
                odd={"type": ["string"], "nullable": True, "minLength": 1, "pattern": "^a"},
                code={"type": "integer", "enum": [1, 2]},
                sizes={"items": NUMBER},
            ),
            "/components/schemas/Widget/minProperties": 1,
            "/components/schemas/Widget/unevaluatedProperties": False,
            f"{BODY}/anyOf": [{"required": ["name"]}, {"required": ["id"]}],
            "/x-whatever": {"a": 1},
            "/tags": [{"name": "x"}],
        },
        {
            W: [
                "size: float | None = None",
                "note: str | None = None",
                "tags: list[str] | None = None",
                "odd: str | None = None",
                "code: int | None = None",
                "sizes: list[float] | None = None",
            ]
        },
    ),
    Mutation(
        "an answer that is JSON among others",
        {
            f"{ONE}/get/responses/200/content/text~1csv": {"schema": TEXT},
            f"{ONE}/get/responses/200/content/application~1json; charset=utf-8": json_of(thing(data=REF))["content"][
                "application/json"
            ],
        },
        {W: ["async def get(self, widget_id: str) -> Widget:"]},
    ),
    Mutation(
        "formats that tell more than names",
        {
            **fields(
                paidAt={"type": "string", "format": "date"},
                rowCount={"type": "number", "format": "double"},
                link={"anyOf": [TEXT, {"type": "string", "format": "uri"}]},
            ),
            **parameter("createdAt", TEXT),
        },
        {
            W: [
                "paid_at: str | None = None",
                "row_count: float | None = None",
                "link: str | None = None",
                "created_at: str | None = None",
            ]
        },
    ),
    # What is refused
    Mutation(
        "a cookie",
        parameter("session", TEXT, "cookie"),
        refused=[f"#{LIST}/get/parameters/1: a parameter in the cookie; GET /v1/widgets is left out"],
    ),
    Mutation(
        "a multipart body",
        {f"{LIST}/post/requestBody": {"content": {"multipart/form-data": {"schema": thing(file=TEXT)}}}},
        refused=[f"#{LIST}/post/requestBody/content: no application/json, but multipart/form-data; POST /v1/widgets"],
    ),
    Mutation(
        "a form body",
        {f"{LIST}/post/requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": thing(a=TEXT)}}}},
        refused=[f"#{LIST}/post/requestBody/content: no application/json, but application/x-www-form-urlencoded"],
    ),
    Mutation(
        "a binary answer",
        {f"{ONE}/get/responses/200/content": {"application/octet-stream": {}}},
        refused=[
            f"#{ONE}/get/responses/200/content: no application/json or application/x-ndjson, but application/octet"
        ],
    ),
    Mutation(
        "a union of scalars",
        fields(size={"oneOf": [TEXT, NUMBER]})
        | {f"{LIST}/post/responses/201": {"description": ""}, f"{LIST}/get": GONE},
        refused=[f"#{FIELDS}/size: a union of scalars; Python code could not tell what comes"],
    ),
    Mutation(
        "an enumeration of several types",
        {f"{ANSWER}/properties/data": thing(size={"enum": ["a", 1]})},
        refused=[f"#{ANSWER}/properties/data/properties/size: an enumeration of several types"],
    ),
    Mutation(
        "a format that is no word",
        {f"{ANSWER}/properties/data": thing(size={"type": "string", "format": ["date"]})},
        refused=[f"#{ANSWER}/properties/data/properties/size: a format that is no word"],
    ),
    Mutation(
        "a field beside others, of which no more is known than their kind",
        {f"{ANSWER}/properties/data": {**thing(id=TEXT), "additionalProperties": NUMBER}},
        refused=[f"#{ANSWER}/properties/data: properties beside a schema of additional ones"],
    ),
    Mutation(
        "fields beside a union",
        {
            f"{ANSWER}/properties/data": {
                "oneOf": [thing(type={"const": "a"}), thing(type={"const": "b"})],
                "properties": {"id": TEXT},
            }
        },
        refused=[f"#{ANSWER}/properties/data: properties beside oneOf"],
    ),
    Mutation(
        "a union without a tag",
        {f"{ANSWER}/properties/data": {"anyOf": [thing(a=TEXT), thing(b=TEXT)]}},
        refused=[f"#{ANSWER}/properties/data: anyOf whose members no constant `type` tells apart"],
    ),
    Mutation(
        "a union with one tag twice",
        {f"{ANSWER}/properties/data": {"oneOf": [thing(type={"const": "a"}), thing(type={"const": "a"}, size=NUMBER)]}},
        refused=[f"#{ANSWER}/properties/data: oneOf whose members no constant `type` tells apart"],
    ),
    Mutation(
        "a union with another tag",
        {
            f"{ANSWER}/properties/data": {
                "oneOf": [thing(kind={"const": "a"}), thing(kind={"const": "b"})],
                "discriminator": {"propertyName": "kind"},
            }
        },
        refused=[f"#{ANSWER}/properties/data: a union told apart by `kind`, not by a constant `type`"],
    ),
    Mutation(
        "a model that contains itself",
        {
            "/components/schemas/Node": {"properties": {"next": {"$ref": "#/components/schemas/Node"}}},
            f"{ANSWER}/properties/data": {"$ref": "#/components/schemas/Node"},
        },
        refused=["#/components/schemas/Node: contains itself; GET /v1/widgets/{widgetId} is left out"],
    ),
    Mutation(
        "models that contain each other",
        {
            "/components/schemas/A": thing(b={"type": "array", "items": {"$ref": "#/components/schemas/B"}}),
            "/components/schemas/B": thing(a={"anyOf": [{"$ref": "#/components/schemas/A"}, {"type": "null"}]}),
            f"{ANSWER}/properties/data": {"$ref": "#/components/schemas/A"},
        },
        refused=["#/components/schemas/A: contains itself"],
    ),
    Mutation(
        "a reference to itself",
        {
            "/components/schemas/Loop": {"$ref": "#/components/schemas/Loop"},
            f"{ANSWER}/properties/data": {"$ref": "#/components/schemas/Loop"},
        },
        refused=["#/components/schemas/Loop: #/components/schemas/Loop refers to itself"],
    ),
    Mutation(
        "parts of allOf that differ",
        {
            "/paths/~1v1~1parts": {
                "get": op(
                    data({"allOf": [thing(size=TEXT, mode=NUMBER), thing(mode={"type": "integer"}, size=NUMBER)]})
                )
            }
        },
        refused=[
            "#/paths/~1v1~1parts/get/responses/200/content/application~1json/schema/properties/data/allOf/1/properties/size:"
        ],
    ),
    Mutation(
        "a part of allOf that is no object",
        {f"{ANSWER}/properties/data": {"allOf": [thing(id=TEXT), TEXT]}},
        refused=[f"#{ANSWER}/properties/data/allOf/1: a part that is no object"],
    ),
    Mutation(
        "allOf of itself",
        {
            "/components/schemas/Loop": {"allOf": [{"$ref": "#/components/schemas/Loop"}, TEXT]},
            f"{ANSWER}/properties/data": {"$ref": "#/components/schemas/Loop"},
        },
        refused=[f"#{ONE}/get: refers to itself"],
    ),
    Mutation(
        "a reference to nothing",
        {f"{ANSWER}/properties/data": {"$ref": "#/components/schemas/Gone"}},
        refused=[f"#{ANSWER}/properties/data: nothing at #/components/schemas/Gone"],
    ),
    Mutation(
        "a reference to another document",
        {f"{ANSWER}/properties/data": {"$ref": "other.json#/X"}},
        refused=[f"#{ANSWER}/properties/data: a reference to 'other.json#/X'; only those inside"],
    ),
    Mutation(
        "another server",
        {f"{ONE}/get/servers": [{"url": "https://elsewhere.example"}]},
        refused=[f"#{ONE}/get/servers: another server (https://elsewhere.example); tokens go to one only"],
    ),
    Mutation(
        "the same server again", {f"{ONE}/get/servers": [{"url": "https://things.example"}]}, {W: ["async def get("]}
    ),
    Mutation(
        "an object in the query",
        parameter("filter", thing(a=TEXT)),
        refused=[f"#{LIST}/get/parameters/1: an object or a list in the query"],
    ),
    Mutation(
        "a list in a style of its own",
        parameter("ids", {"type": "array", "items": TEXT}, style="pipeDelimited"),
        refused=[f"#{LIST}/get/parameters/1: a list in the style pipeDelimited"],
    ),
    Mutation(
        "a list in a header",
        parameter("X-Ids", {"type": "array", "items": TEXT}, "header"),
        refused=[f"#{LIST}/get/parameters/1: an object or a list in the header that no client could write in one way"],
    ),
    Mutation(
        "an id in a style of its own",
        {f"{ONE}/get/parameters": [{**ID, "style": "matrix"}]},
        refused=[f"#{ONE}/get/parameters/0: a value in the style matrix"],
    ),
    Mutation(
        "a header whose name cannot be sent",
        parameter("X Depth:", TEXT, "header"),
        refused=[f"#{LIST}/get/parameters/1: a header whose name cannot be sent"],
    ),
    Mutation(
        "two types",
        parameter("size", {"type": ["string", "integer"]}),
        refused=[f'#{LIST}/get/parameters/1/schema: the type ["string", "integer"] is not understood'],
    ),
    Mutation(
        "paths that cannot be appended to a server",
        {
            f"/paths/{path.replace('/', '~1')}": {"get": op(data(REF))}
            for path in ("v1/a", "//v1/b", "/v1/../c", "/v1/d?e")
        },
        refused=[
            "#/paths/v1~1a/get: 'v1/a' is no plain path; GET v1/a is left out",
            "#/paths/~1~1v1~1b/get: '//v1/b' is no plain path",
            "#/paths/~1v1~1..~1c/get: '/v1/../c' is no plain path",
            "#/paths/~1v1~1d?e/get: '/v1/d?e' is no plain path",
        ],
    ),
    Mutation(
        "a route that differs in the name of its id only",
        {"/paths/~1v1~1widgets~1{zebra}": {"get": op(data(REF), parameters=[{**ID, "name": "zebra"}])}},
        refused=[
            "#/paths/~1v1~1widgets~1{zebra}/get: a second route of this form; GET /v1/widgets/{zebra} is left out"
        ],
    ),
    Mutation(
        "a log over a WebSocket only",
        {f"{ONE}/get/responses": {"101": {"description": ""}}},
        refused=[f"#{ONE}/get/responses/101: a WebSocket whose records no application/x-ndjson describes"],
    ),
    Mutation(
        "a log of lines of one kind",
        {f"{ONE}/get/responses/200/content": {"application/x-ndjson": {"schema": REF}}},
        refused=[
            f"#{ONE}/get/responses/200/content/application~1x-ndjson/schema: a log whose lines are not of two kinds"
        ],
    ),
    Mutation(
        "a log with a header",
        {
            f"{ONE}/get": op(
                {
                    "description": "",
                    "content": {
                        "application/x-ndjson": {
                            "schema": {"oneOf": [thing(type={"const": "log"}), thing(type={"const": "end"}, code=TEXT)]}
                        }
                    },
                },
                parameters=[ID, {"name": "X-Depth", "in": "header", "schema": TEXT}],
            )
        },
        refused=[f"#{ONE}/get: a log with headers, or without a token"],
    ),
    Mutation(
        "more routes than names for them",
        {
            f"/paths/~1v{version}~1widgets~1{{widgetId}}~1parts": {
                "get": op(data({"type": "array", "items": thing(id=TEXT)}), parameters=[ID])
            }
            for version in (1, 2, 3)
        },
        refused=["#/paths/~1v3~1widgets~1{widgetId}~1parts/get: two routes are named widgets.list_parts"],
    ),
    Mutation(
        "a list that may be null, in its envelope",
        {f"{LIST}/get/responses/200": data({"type": ["array", "null"], "items": REF})},
        refused=[f"#{LIST}/get/responses/200/content/application~1json/schema: `data` is a list that may be null"],
    ),
    Mutation(
        "keywords that change shapes",
        {f"{ANSWER}/properties/data": {"not": {}}},
        refused=[f"#{ANSWER}/properties/data: the keyword `not` is not understood"],
    ),
    Mutation(
        "successes that differ",
        {f"{ONE}/get/responses/204": {"description": ""}},
        refused=[f"#{ONE}/get/responses: successes that differ"],
    ),
    Mutation(
        "no success",
        {f"{ONE}/get/responses": {"404": {"description": ""}}},
        refused=[f"#{ONE}/get/responses: no success among them"],
    ),
    Mutation(
        "pages that nothing ends",
        {f"{LIST}/get/responses/200": data({"type": "array", "items": REF}, pagination=thing(total=NUMBER))},
        refused=[
            f"#{LIST}/get/responses/200/content/application~1json/schema/properties/pagination: pages without `hasMore`"
        ],
    ),
    Mutation(
        "TRACE and OPTIONS",
        {f"{ONE}/trace": op({"description": ""}), f"{ONE}/options": op({"description": ""})},
        refused=[
            f"#{ONE}/options: a client has no use for OPTIONS; OPTIONS /v1/widgets/{{widgetId}} is left out",
            f"#{ONE}/trace: a client has no use for TRACE",
        ],
    ),
    Mutation(
        "a token that is sent in another way",
        {
            f"{ONE}/get/security": [{"key": []}, {"bearer": [], "key": []}],
            f"{ONE}/delete/security": [{"basic": []}],
            "/components/securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "Bearer"},
            },
        },
        refused=[
            f"#{ONE}/get: a token that is not sent as a Bearer; GET /v1/widgets/{{widgetId}} is left out",
            f"#{ONE}/delete: a token that is not sent as a Bearer",
        ],
    ),
    Mutation(
        "what is no OpenAPI",
        {f"{ONE}/get/responses/200/content/application~1json/schema": {"properties": ["id"]}},
        refused=[f"#{ONE}/get: not as OpenAPI 3.1 has it"],
    ),
    Mutation(
        "ids that are not in the path",
        {f"{ONE}/get/parameters": []},
        refused=[f"#{ONE}/get: the ids in the path are not its parameters"],
    ),
]
