"""Conversations in one text, with the marks of a chat template."""

import pytest
from rows_source import Choose, MakeSource, Read

from retune.data.formats.transcripts import read_open_transcript, read_transcript

SYSTEM = {"role": "system", "content": "Be brief."}
CHAT = [
    {"role": "user", "content": "Is the bridge open?"},
    {"role": "assistant", "content": "Until ten."},
    {"role": "user", "content": "And on Sundays?"},
    {"role": "assistant", "content": "Never."},
]
TEXTS = {
    "ChatML": "<|im_start|>user\nIs the bridge open?<|im_end|>\n<|im_start|>assistant\nUntil ten.<|im_end|>\n"
    "<|im_start|>user\nAnd on Sundays?<|im_end|>\n<|im_start|>assistant\nNever.<|im_end|>\n",
    "Llama 2": "<s>[INST] Is the bridge open? [/INST] Until ten. </s><s>[INST] And on Sundays? [/INST] Never. </s>",
    "Llama 3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nIs the bridge open?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nUntil ten.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nAnd on Sundays?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nNever.<|eot_id|>",
    "Gemma": "<bos><start_of_turn>user\nIs the bridge open?<end_of_turn>\n"
    "<start_of_turn>model\nUntil ten.<end_of_turn>\n"
    "<start_of_turn>user\nAnd on Sundays?<end_of_turn>\n<start_of_turn>model\nNever.<end_of_turn>\n",
    "Zephyr": "<|user|>\nIs the bridge open?</s>\n<|assistant|>\nUntil ten.</s>\n<|user|>\nAnd on Sundays?</s>\n"
    "<|assistant|>\nNever.</s>",
    "Guanaco": "### Human: Is the bridge open?### Assistant: Until ten.### Human: And on Sundays?### Assistant: Never.",
    "Human and Assistant": "\n\nHuman: Is the bridge open?\n\nAssistant: Until ten.\n\nHuman: And on Sundays?\n\n"
    "Assistant: Never.",
    "Vicuna": "USER: Is the bridge open? ASSISTANT: Until ten.</s>USER: And on Sundays? ASSISTANT: Never.</s>",
}


@pytest.mark.parametrize(("template", "text"), TEXTS.items(), ids=TEXTS.keys())
def test_each_template_gives_the_conversation(
    make_source: MakeSource,
    read: Read,
    choose: Choose,
    template: str,
    text: str,
) -> None:
    source = make_source([{"text": text, "id": 3}])
    [example] = read(source)
    assert (example.body, example.findings) == ({"messages": CHAT}, ())
    assert choose(source).title == f"conversations in text (texts with the marks of {template})"


def test_alpacas_instruction_and_input_are_what_the_user_says() -> None:
    text = "Below is a task.\n\n### Instruction:\nTranslate.\n\n### Input:\nchien\n\n### Response:\ndog"
    assert read_transcript(text) == [
        {"role": "system", "content": "Below is a task."},
        {"role": "user", "content": "Translate.\n\nchien"},
        {"role": "assistant", "content": "dog"},
    ]


def test_llamas_system_prompt_is_a_message() -> None:
    text = "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nIs the bridge open? [/INST] Until ten. </s>"
    assert read_transcript(text) == [SYSTEM, *CHAT[:2]]


@pytest.mark.parametrize(
    "text",
    [
        "The user: asks, the assistant: answers.",
        "Human: are you there?",
        "See [INST] in the manual.",
        '[{"role": "user", "content": "USER: a ASSISTANT: b"}]',
        "USER: Open? ASSISTANT: <functioncall> {} <|endoftext|> FUNCTION RESPONSE: {} ASSISTANT: Yes.",
        "",
    ],
)
def test_other_texts_are_not_conversations(make_source: MakeSource, choose: Choose, text: str) -> None:
    rows = [{"question": "q", "answer": "a", "text": text}]
    assert choose(make_source(rows)).title == "columns question → answer (by their names)"
    if not text.startswith("["):
        assert read_transcript(text) is None


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("Human and Assistant", "\n\nHuman: Is the bridge open?\n\nAssistant:"),
        ("Llama 2", "<s>[INST] Is the bridge open? [/INST]"),
        ("ChatML", "<|im_start|>user\nIs the bridge open?<|im_end|>\n<|im_start|>assistant\n"),
    ],
)
def test_the_marks_are_not_learned_with_a_prompt(
    make_source: MakeSource,
    read: Read,
    choose: Choose,
    template: str,
    prompt: str,
) -> None:
    source = make_source([{"prompt": prompt, "completion": " Until ten."}])
    [example] = read(source)
    assert (example.body, example.findings) == ({"messages": CHAT[:2]}, ())
    assert f"without the marks of {template}" in choose(source).title


def test_a_prompt_without_the_marks_is_named(make_source: MakeSource, read: Read) -> None:
    marked = [{"prompt": f"[INST] {n} [/INST]", "completion": f"{n}!"} for n in range(100)]
    *_, odd = read(make_source([*marked, {"prompt": "plain", "completion": "no"}]))
    assert odd.body["messages"][0] == {"role": "user", "content": "plain"}
    [finding] = odd.findings
    assert finding.kind == "separator_missing"
    assert "prompt does not have the marks of Llama 2, as most do" in finding.message


def test_a_model_that_completes_prompts_learns_the_marks(make_source: MakeSource, choose: Choose) -> None:
    source = make_source([{"prompt": "[INST] q [/INST]", "completion": "a"}])
    [block] = source.blocks()
    [example] = choose(source).verbatim().examples(block)
    assert example.body["messages"][0]["content"] == "[INST] q [/INST]"


def test_answers_that_are_whole_transcripts_are_a_preference(make_source: MakeSource, read: Read) -> None:
    before = "\n\nHuman: Is the bridge open?\n\nAssistant: Until ten.\n\nHuman: And on Sundays?\n\nAssistant:"
    [example] = read(make_source([{"chosen": f"{before} Never.", "rejected": f"{before} Who knows?"}]))
    assert example.body == {
        "input": {"messages": CHAT[:3]},
        "preferred_output": CHAT[3:],
        "non_preferred_output": [{"role": "assistant", "content": "Who knows?"}],
    }


def test_a_prompt_in_marks_before_two_answers_is_read(make_source: MakeSource, read: Read) -> None:
    row = {"prompt": "\n\nHuman: Is the bridge open?\n\nAssistant:", "chosen": "Until ten.", "rejected": "No."}
    [example] = read(make_source([row]))
    assert example.body["input"] == {"messages": CHAT[:1]}


def test_a_text_that_ends_with_an_answer_asks_nothing() -> None:
    assert read_open_transcript(TEXTS["ChatML"]) is None


def test_the_marks_around_a_question_are_left_out_too(make_source: MakeSource, read: Read, choose: Choose) -> None:
    source = make_source([{"instruction": "<s>[INST] Is the bridge open? [/INST]", "response": "Until ten."}])
    [example] = read(source)
    assert example.body == {"messages": CHAT[:2]}
    assert choose(source).title == "columns instruction → response (by their names), without the marks of Llama 2"
    assert choose(source).two_text_columns is None


@pytest.mark.parametrize("text", ["[INST]" * 150_000, "### Human:" + " " * 900_000 + "x", "\n\nHuman" + " " * 900_000])
def test_long_texts_without_an_end_are_left_quickly(text: str) -> None:
    assert read_transcript(text) is None
