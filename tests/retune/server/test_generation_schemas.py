"""JSON Schemas of requests: checked within limits, evaluated within a budget of steps."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.server.errors import ApiError
from retune.server.generation.answer_formats import AnswerFormat, ResponseFormat
from retune.server.generation.answer_schema import InvalidSchemaError, check_schema


def problem(schema: Any, said: Any) -> str | None:
    text = json.dumps(schema)
    check_schema(text)
    return AnswerFormat(text).problem_of(said if isinstance(said, str) else json.dumps(said))


@pytest.mark.parametrize(
    ("schema", "said", "words"),
    [
        ({}, "{", "it is not valid JSON"),
        ({}, "NaN", "NaN is not a JSON number"),
        ({}, "[" * 100_000, "it is not valid JSON"),
        ({}, "1" * 5000, "it is not valid JSON"),
        ({"type": "object"}, [], "at $, [] is not of type 'object'"),
        ({"required": ["colour"]}, {}, "at $, 'colour' is a required property"),
        ({"properties": {"label": {"maxLength": 1}}}, {"label": "long"}, "at $.label, 'long' is too long"),
        ({"properties": {"label": {"pattern": "^b$"}}}, {"label": "a"}, "at $.label, 'a' does not match '^b$'"),
        ({"multipleOf": 0.1}, 10**400, "it can't be checked"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, 1, "it can't be checked"),
    ],
)
def test_the_problem_of_an_answer_is_named(schema: Any, said: Any, words: str) -> None:
    assert words in str(problem(schema, said))


def test_a_tree_of_answers_meets_a_schema_that_refers_to_itself() -> None:
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}

    assert problem(tree, {"children": [{"children": []}, {}]}) is None
    assert problem(tree, {"children": [{"children": [3]}]}) == "at $.children[0].children[0], 3 is not of type 'object'"


def test_a_pattern_takes_linear_time() -> None:
    assert problem({"pattern": "^(a+)+$"}, "a" * 3000 + "!") is not None


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "text"}, "'text' is not valid"),
        ({"$ref": "https://example.com/s"}, "'https://example.com/s' is never fetched"),
        ({"$ref": "#/$defs/none"}, "there is no schema"),
        ({"pattern": "(?=x)"}, "the pattern '(?=x)' can't be used"),
        ({"properties": {"a": {"patternProperties": {}}}}, "'patternProperties' is not supported"),
        ({"items": {"$id": "https://example.com"}}, "'$id' is supported at the top"),
        ({"$ref": "#/allOf/x", "allOf": [{}]}, "leads to '#/allOf/x', and there is no schema"),
        ({"$ref": "#/allOf/1", "allOf": [{}]}, "leads to '#/allOf/1', and there is no schema"),
        ({"$ref": "#/minLength/x", "minLength": 1}, "leads to '#/minLength/x', and there is no schema"),
        ({"$ref": "#/title", "title": "x"}, "leads to '#/title', and there is no schema"),
        ({"$ref": "#/const", "const": {}}, "leads to '#/const', and there is no schema"),
        ({"$ref": "#a", "x-more": {"$anchor": "a"}}, "leads to '#a', and there is no schema"),
        ({"properties": 5}, "at $.properties, 5 is not of type 'object'"),
        ({"title": "long" * 20_000}, "at most 64000 may be"),
        ({"allOf": [True] * 2000}, "more than 2000 schemas"),
        ({"allOf": [{"pattern": "a" * n} for n in range(21)]}, "at most 20 may be"),
    ],
)
def test_an_unsupported_schema_is_refused(schema: Any, words: str) -> None:
    with pytest.raises(InvalidSchemaError) as caught:
        check_schema(json.dumps(schema))

    assert words in str(caught.value)


def test_a_schema_nested_too_deeply_is_refused() -> None:
    schema = ResponseFormat.model_validate({"type": "json_schema", "json_schema": {"name": "a", "schema": deep(900)}})

    with pytest.raises(ApiError) as caught:
        schema.answer_format()
    assert caught.value.body["error"]["param"] == "response_format.json_schema.schema"


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


def test_names_of_properties_and_data_are_not_keywords() -> None:
    schema = {
        "properties": {"$ref": {"type": "string"}, "patternProperties": {"type": "integer"}},
        "const": {"$ref": "a", "patternProperties": 1},
    }

    assert problem(schema, {"$ref": "a", "patternProperties": 1}) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"x-foo": {"properties": 5}},
        {"x": {"$defs": [1]}},
        {"dependentRequired": {"patternProperties": ["x"]}},
        {"default": {"$ref": "https://example.com"}, "examples": [{"patternProperties": {}}]},
    ],
)
def test_values_that_are_not_schemas_are_not_checked(schema: dict[str, Any]) -> None:
    assert problem(schema, {}) is None


@pytest.mark.parametrize(
    ("reference", "where"),
    [
        ("#text", {"$defs": {"a": {"$anchor": "text", "type": "string"}}}),
        ("#/allOf/1", {"allOf": [True, {"type": "string"}]}),
        ("#/properties/a~1b%25~0/not/not", {"properties": {"a/b%~": {"not": {"not": {"type": "string"}}}}}),
    ],
)
def test_a_reference_leads_to_a_schema_within(reference: str, where: dict[str, Any]) -> None:
    schema = {"properties": {"said": {"$ref": reference}}, "$defs": {"all": where}}
    nested = {"properties": {"said": {"$ref": reference.replace("#/", "#/$defs/all/")}}, "$defs": {"all": where}}

    for tried in [nested] if reference.startswith("#/") else [schema, nested]:
        assert problem(tried, {"said": "x"}) is None
        assert problem(tried, {"said": 3}) == "at $.said, 3 is not of type 'string'"


MULTIPLYING: dict[str, Any] = {
    "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {}},
    "$ref": "#/$defs/d0",
}


@pytest.mark.parametrize("schema", [MULTIPLYING, {"uniqueItems": True}])
def test_a_schema_that_takes_too_long_is_an_error_of_the_request(schema: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        problem(schema, list(range(5000)))

    assert (caught.value.status, caught.value.body["error"]["code"]) == (400, "schema_too_complex")


def test_all_answers_of_a_request_share_its_steps() -> None:
    text = json.dumps({"items": {"type": "integer"}})
    check_schema(text)
    wanted = AnswerFormat(text)
    assert wanted == AnswerFormat(text)
    assert hash(wanted) == hash(AnswerFormat(text))

    assert all(wanted(json.dumps([1] * 1000)) for _ in range(60))
    with pytest.raises(ApiError, match="takes more than 200000 steps"):
        all(wanted(json.dumps([1] * 1000)) for _ in range(100))


anything = st.text(st.characters(exclude_categories=()), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=4,
)
references = st.sampled_from(["#", "#a", "#/$defs/a", "#/allOf/0", "#/allOf/x", "#/not", "#/title/x", "#/x-y/a", "#/%"])
shapes: dict[str, Callable[[st.SearchStrategy[Any]], st.SearchStrategy[Any]]] = {
    "$ref": lambda _: references,
    "$anchor": lambda _: st.sampled_from(["a", "b"]),
    "$id": lambda _: st.just("https://example.com"),
    "$defs": lambda inner: st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    "properties": lambda inner: st.dictionaries(st.sampled_from(["a", "$ref"]), inner, max_size=2),
    "dependencies": lambda inner: st.dictionaries(st.sampled_from(["a"]), inner | st.just(["a"]), max_size=1),
    "dependentRequired": lambda _: st.just({"patternProperties": ["x"]}),
    "allOf": lambda inner: st.lists(inner, min_size=1, max_size=3),
    "anyOf": lambda inner: st.lists(inner, min_size=1, max_size=2),
    "not": lambda inner: inner,
    "items": lambda inner: inner,
    "x-y": lambda inner: inner | st.dictionaries(st.sampled_from(["a", "$defs"]), values, max_size=2),
    "title": lambda _: st.just("x"),
    "const": lambda _: values,
    "enum": lambda _: st.lists(values, max_size=2),
    "type": lambda _: st.sampled_from(["object", "string", "array"]),
    "pattern": lambda _: st.sampled_from(["^a$", "(", "(?=x)"]),
    "minimum": lambda _: st.floats() | st.integers(),
    "multipleOf": lambda _: st.floats() | st.integers(min_value=1),
    "uniqueItems": lambda _: st.booleans(),
    "required": lambda _: st.lists(anything, max_size=2),
}


def made_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = {keyword: shape(inner) | values for keyword, shape in shapes.items()}
    likely = {keyword: shape(inner) for keyword, shape in shapes.items()}
    return st.lists(st.sampled_from(sorted(shapes)), max_size=3, unique=True).flatmap(
        lambda chosen: (
            st.fixed_dictionaries({keyword: likely[keyword] for keyword in chosen})
            | st.fixed_dictionaries({keyword: fields[keyword] for keyword in chosen})
        )
    )


schemas = made_of(st.booleans() | made_of(st.booleans() | made_of(st.booleans())))


@settings(deadline=None, max_examples=300)
@given(schemas, values)
def test_no_schema_causes_a_server_error(schema: dict[str, Any], value: Any) -> None:
    wanted = ResponseFormat.model_validate({"type": "json_schema", "json_schema": {"name": "a", "schema": schema}})

    # Whatever else is raised would be an error of the server.
    with suppress(ApiError):
        answer_format = wanted.answer_format()
        assert answer_format
        found = answer_format.problem_of(json.dumps(value))
        assert found is None or found
