from collections.abc import Callable
from typing import Any

import pytest
from rows_source import MakeSource

from retune.config import DataConfig, SplitConfig
from retune.data.formats.detect import choose_format
from retune.data.formats.message_rows.source import put_together

ReadTree = Callable[..., tuple[list[list[str]], dict[str, str], str]]


@pytest.fixture
def read_tree(make_source: MakeSource) -> ReadTree:
    """The messages of every conversation of an export, in short; its findings; and the title of its shape."""

    def read(*rows: dict[str, Any]) -> tuple[Any, ...]:
        data = DataConfig(source="data")
        source = put_together(make_source(list(rows), file_format="json"), data)
        title = choose_format(source, data, SplitConfig(), None).title
        read = [row for block in source.blocks() for row in block.rows()]
        texts = [[f"{m['role'][0]}:{m['content']}" for m in row.values.get("messages", [])] for row in read]
        return texts, {note.finding.kind: note.finding.message for note in source.notes()}, title

    return read


def node(
    role: str, *parts: dict[str, str] | str, parent: str | None = None, kind: str = "text", **message: Any
) -> dict[str, Any]:
    """A node of ChatGPT's mapping."""
    content = {"content_type": kind, "parts": list(parts)}
    return {"message": {"author": {"role": role}, "content": content, "recipient": "all", **message}, "parent": parent}


def test_the_current_branch_is_read_and_the_others_are_counted(
    read_tree: ReadTree,
) -> None:
    mapping = {
        "root": {"message": None, "parent": None},
        "u": node("user", "a", parent="root"),
        "old": node("assistant", "b", parent="u"),
        "new": node("assistant", "c", parent="u"),
        "v": node("user", "d", parent="new"),
        "w": node("assistant", "e", parent="v"),
    }
    texts, found, title = read_tree({"title": "T", "mapping": mapping, "current_node": "w"})
    assert texts == [["u:a", "a:c", "u:d", "a:e"]]
    assert found == {"branches_left_out": "1 message of other branches left out; the first: line 1."}
    assert title == "conversations of ChatGPT's export"


def test_what_is_not_said_in_words_is_left_out(
    read_tree: ReadTree,
) -> None:
    mapping = {
        "s": node("system", ""),
        "h": node("user", "secret profile", parent="s", metadata={"is_visually_hidden_from_conversation": True}),
        "u": node("user", {"asset_pointer": "file"}, "what is it?", parent="h", kind="multimodal_text"),
        "c": node("assistant", "search()", parent="u", recipient="web"),
        "t": node("tool", "found", parent="c"),
        "r": node("assistant", "hm", parent="t", kind="thoughts"),
        "x": node("assistant", "A cat", parent="r"),
        "y": node("assistant", "on a mat.", parent="x"),
    }
    texts, found, _ = read_tree({"mapping": mapping, "current_node": "y"})
    assert texts == [["u:what is it?", "a:A cat\non a mat."]]
    assert found == {"messages_left_out": "3 messages without text for people to read left out; the first: line 1."}


def test_circles_and_lost_nodes_end(read_tree: ReadTree) -> None:
    circle = {"a": node("user", "q", parent="b"), "b": node("assistant", "r", parent="a")}
    texts, _, _ = read_tree(
        {"mapping": circle, "current_node": "b"},
        {"mapping": {"a": node("user", "q"), "b": node("assistant", "r", parent="a")}, "current_node": "gone"},
    )
    assert texts == [["u:q", "a:r"], ["u:q", "a:r"]]


def test_a_conversation_without_an_answer_is_left_out(
    read_tree: ReadTree,
) -> None:
    answered = {"a": node("user", "q"), "b": node("assistant", "r", parent="a")}
    texts, found, _ = read_tree(
        {"mapping": {"a": node("user", "q")}, "current_node": "a"}, {"mapping": answered, "current_node": "b"}
    )
    assert texts == [["u:q", "a:r"]]
    assert found == {"conversations_left_out": "1 conversation without an answer left out; the first: line 1."}


def test_claude_export_uses_senders(read_tree: ReadTree) -> None:
    said = [
        {"sender": "human", "text": "q"},
        {"sender": "assistant", "text": "", "content": [{"type": "tool_use"}, {"type": "text", "text": "r"}]},
        {"sender": "human", "text": " "},
    ]
    texts, found, title = read_tree({"uuid": "1", "name": "n", "chat_messages": said})
    assert texts == [["u:q", "a:r"]]
    assert set(found) == {"messages_left_out"}
    assert title == "conversations of Claude's export"


def test_open_assistant_nests_replies(read_tree: ReadTree) -> None:
    prompt = {
        "text": "q",
        "role": "prompter",
        "replies": [
            {"text": "second", "role": "assistant", "rank": 1, "replies": []},
            {
                "text": "best",
                "role": "assistant",
                "rank": 0,
                "replies": [{"text": "thanks", "role": "prompter", "replies": []}],
            },
            {"text": "spam", "role": "assistant", "deleted": True},
        ],
    }
    texts, found, title = read_tree({"message_tree_id": "1", "prompt": prompt})
    assert texts == [["u:q", "a:best", "u:thanks"]]
    assert found == {"branches_left_out": "1 message of other branches left out; the first: line 1."}
    assert title == "conversations of Open Assistant's trees"
