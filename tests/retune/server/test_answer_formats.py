import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.server.api.errors import ApiError
from retune.server.chat.answer_schema import InvalidSchemaError, check_schema
from retune.server.chat.response_format import AnswerFormat, ResponseFormat


def problem(schema: Any, said: Any) -> str | None:
    text = json.dumps(schema)
    check_schema(text)
    return AnswerFormat(text).problem_of(said if isinstance(said, str) else json.dumps(said))


@pytest.mark.parametrize(
    ("schema", "said", "words"),
    [
        ({}, "{", "it is not valid JSON"),
        ({}, "NaN", "NaN is no JSON number"),
        ({}, "[" * 100_000, "it is not valid JSON"),
        ({}, "1" * 5000, "it is not valid JSON"),
        ({"type": "object"}, [], "at $, [] is not of type 'object'"),
        ({"required": ["colour"]}, {}, "at $, 'colour' is a required property"),
        ({"properties": {"label": {"maxLength": 1}}}, {"label": "long"}, "at $.label, 'long' is too long"),
        ({"properties": {"label": {"pattern": "^b$"}}}, {"label": "a"}, "at $.label, 'a' does not match '^b$'"),
        ({"multipleOf": 0.1}, 10**400, "it can't be checked"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, 1, "it can't be checked"),
        (
            {
                "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {}},
                "$ref": "#/$defs/d0",
            },
            1,
            "more than 10000 references",
        ),
    ],
)
def test_what_an_answer_lacks_is_told(schema: Any, said: Any, words: str):
    assert words in str(problem(schema, said))


def test_a_tree_of_answers_meets_a_schema_that_refers_to_itself():
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}

    assert problem(tree, {"children": [{"children": []}, {}]}) is None
    assert problem(tree, {"children": [{"children": [3]}]}) == "at $.children[0].children[0], 3 is not of type 'object'"


def test_a_pattern_takes_no_more_time_than_the_text_is_long():
    assert problem({"pattern": "^(a+)+$"}, "a" * 3000 + "!") is not None


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "text"}, "'text' is not valid"),
        ({"$ref": "https://example.com/s"}, "'https://example.com/s' is never fetched"),
        ({"$ref": "#/$defs/none"}, "there is nothing"),
        ({"pattern": "(?=x)"}, "the pattern '(?=x)' can't be used"),
        ({"properties": {"a": {"patternProperties": {}}}}, "'patternProperties' is not supported"),
        ({"items": {"$id": "https://example.com"}}, "'$id' is supported at the top"),
    ],
)
def test_a_schema_that_can_not_be_used_is_told(schema: Any, words: str):
    with pytest.raises(InvalidSchemaError) as caught:
        check_schema(json.dumps(schema))

    assert words in str(caught.value)


def test_a_schema_nested_too_deeply_is_told():
    schema = ResponseFormat.model_validate({"type": "json_schema", "json_schema": {"name": "a", "schema": deep(900)}})

    with pytest.raises(ApiError) as caught:
        schema.answer_format()
    assert caught.value.body["error"]["param"] == "response_format.json_schema.schema"


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


def test_names_of_properties_and_data_are_no_keywords():
    schema = {
        "properties": {"$ref": {"type": "string"}, "patternProperties": {"type": "integer"}},
        "const": {"$ref": "a", "patternProperties": 1},
    }

    assert problem(schema, {"$ref": "a", "patternProperties": 1}) is None


anything = st.text(st.characters(exclude_categories=()), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=4,
)
keywords = [
    "type",
    "enum",
    "$ref",
    "$id",
    "$anchor",
    "pattern",
    "minimum",
    "multipleOf",
    "required",
    "const",
    "format",
    "items",
    "properties",
    "$defs",
    "anyOf",
]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(keywords), values, max_size=3), values)
def test_no_schema_makes_it_stumble(schema: dict[str, Any], value: Any):
    with suppress(InvalidSchemaError):
        found = problem(schema, value)
        assert found is None or found
