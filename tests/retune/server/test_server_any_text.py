from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.fine_tuning import FineTuningJob
from server_process import ServerProcess

anything = st.text(st.characters(exclude_categories=()), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    *("messages", "temperature", "n", "seed", "stop", "stream", "stream_options", "max_tokens", "logprobs"),
    *("top_logprobs", "response_format", "tools", "metadata", "user", "logit_bias", "prompt", "echo", "best_of"),
    *("tool_choice", "functions", "function_call", "parallel_tool_calls"),
]
requests = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["trained", "baseline-text", "babbage-002"]) | anything,
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.just("user") | anything, "content": anything | json_values}), max_size=2
        ),
        "prompt": anything | st.lists(anything, max_size=2),
    },
    optional={
        "stop": anything | st.lists(anything, max_size=2),
        "response_format": st.just({"type": "json_object"})
        | st.fixed_dictionaries(
            {
                "type": st.just("json_schema"),
                "json_schema": st.fixed_dictionaries(
                    {
                        "name": st.just("answer") | anything,
                        "schema": st.dictionaries(st.sampled_from(["type", "pattern", "enum", "$ref"]), json_values),
                    }
                ),
            }
        ),
        "user": anything,
        "tools": st.lists(
            st.fixed_dictionaries(
                {
                    "type": st.just("function"),
                    "function": st.fixed_dictionaries(
                        {"name": st.just("f"), "parameters": st.dictionaries(st.sampled_from(["type"]), json_values)}
                    ),
                }
            ),
            max_size=2,
        ),
        "tool_choice": st.sampled_from(["auto", "required", {"type": "function", "function": {"name": "f"}}])
        | json_values,
    },
) | st.dictionaries(st.sampled_from(FIELDS) | anything, json_values, max_size=4)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(["/v1/chat/completions", "/v1/completions"]), requests, st.booleans())
def test_no_text_that_json_can_carry_is_an_error_of_the_server(
    server: ServerProcess, succeeded: FineTuningJob, path: str, body: dict[str, Any], stream: bool
):
    if body.get("model") == "trained":
        body = {**body, "model": succeeded.fine_tuned_model, "max_tokens": 20}
    if path == "/v1/completions":
        body = {key: value for key, value in body.items() if key != "messages"}
    elif body.get("messages"):
        body = {key: value for key, value in body.items() if key != "prompt"}

    answer = server.request("POST", path, {**body, "stream": stream})

    assert answer.status < 500, answer.content
    if answer.status >= 400:
        assert answer.error["message"]
