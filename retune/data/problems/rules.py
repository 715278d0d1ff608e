"""Every kind of problem that the checks can find: its level, and how to fix it."""

from typing import Literal, NamedTuple

from retune.training_lines.cleaning import Removal

Level = Literal["error", "warning", "note"]
"""An error stops a run, a warning is worth a look, a note asks for nothing. In this order they are shown."""

Change = (
    Literal[
        "byte_order_mark_removed",
        "line_ends_replaced",
        "trimmed",
        "empty_dropped",
        "total_dropped",
        "failed_call_dropped",
        "duplicate_dropped",
        "overlap_dropped",
    ]
    | Removal
)
"""What a safe repair can do."""


MOST_KEPT_PER_KIND = 1_000
"""So many problems of a kind are written down, the first ones; all are counted."""


class Rule(NamedTuple):
    """One kind of problem.

    Attributes:
        fixed_by: What `retune check --fix` does to it; None for nothing.
        is_said_once: The same message is kept once, with the first place; how often it was found is counted.
    """

    level: Level
    hint: str
    fixed_by: Change | None = None
    is_said_once: bool = False


RULES: dict[str, Rule] = {
    # All examples together
    "too_many_examples": Rule("error", "Leave some out; the provider accepts no more."),
    "reading_stopped": Rule(
        "error", "Fix what is reported here first; or raise data.limits.max_errors (--max-errors)."
    ),
    "method_not_offered": Rule("warning", "Choose another base model, or another training method."),
    "split_contradiction": Rule(
        "error",
        "Keep the question in one split, and remove it from the others; --fix keeps it in test, or else in validation.",
        "overlap_dropped",
    ),
    # The source's text
    "not_json": Rule(
        "error",
        "Every line, or element, must be one JSON object; for NaN write null, or leave the key out.",
    ),
    "repeated_list": Rule("error", "Keep one of them, or make a row of each."),
    "repeated_key": Rule("warning", "Remove the others; every program reads such objects as it likes."),
    "not_utf8": Rule("error", "Save the file as UTF-8; spreadsheets call it “CSV UTF-8”."),
    "row_width": Rule("error", "Put a cell that holds the separator in quotes."),
    "bad_quotes": Rule("error", 'End a cell that starts with a quote with one; write a quote inside it twice: "".'),
    "failed_call": Rule(
        "error",
        "Leave out failed calls, as --fix does: there is no answer in them to learn.",
        "failed_call_dropped",
    ),
    "cell_not_messages": Rule("error", "Write the cell as a JSON list of messages."),
    "call_in_text": Rule(
        "error",
        "Write calls as objects (tool_calls, or function_call of ShareGPT). To learn them as text, let the user say "
        r"""the results: sed -E 's/("from": *)"tool"/\1"human"/g' FILE.json > NEW.json""",
    ),
    "other_shape": Rule("error", "Give all lines the same keys, or put those of another kind into another file."),
    "not_one_text": Rule(
        "error", "Give all rows one text in the list, or read all as lists by the flags that the message names."
    ),
    "split_of_file": Rule(
        "error", "Name the same split in the row as for its file, or none; --ignore-splits draws the splits again."
    ),
    "split_name_alone": Rule(
        "warning",
        "Name the examples to train on as the source, and this by --test-data or --validation-data. If it is to be "
        "trained on, use --ignore-splits.",
    ),
    "split_name_unused": Rule(
        "warning",
        "No action needed if it is meant to be trained on. --ignore-splits says so for every file.",
    ),
    "unknown_split": Rule("error", "Write train, validation or test there; --ignore-splits draws the splits again."),
    "file_not_read": Rule("warning", "If it holds examples, do as it says; else move it elsewhere, or name a pattern."),
    "other_file": Rule("note", "No action needed: it holds no examples."),
    "layout": Rule(
        "note", "No action needed if that is right; otherwise write the file in the plain form of its format."
    ),
    "header_missing": Rule("warning", "If these are examples, use --no-header; otherwise no action is needed."),
    "total_row": Rule(
        "warning",
        "No action needed if it is a total; if it is an example, move it up. --fix leaves it out, too.",
        "total_dropped",
    ),
    "total_row_read": Rule("warning", "Delete the row from the file if it is a total; otherwise no action is needed."),
    # One example's structure
    "missing_messages": Rule("error", 'Give every example a list of messages: {"messages": [{"role": …}, …]}.'),
    "nested_too_deeply": Rule("error", "Reduce the nesting; no provider accepts JSON this deep."),
    "message_not_object": Rule("error", 'Write every message as an object: {"role": "user", "content": "…"}.'),
    "unknown_role": Rule("error", "Rename the role."),
    "unknown_key": Rule("error", "Remove the key or fix its spelling."),
    "missing_content": Rule("error", "Fill the cell in or remove the example."),
    "empty_content": Rule("error", "Fill the cell in or remove the example."),
    "content_not_text": Rule("error", "Write the content as text, or as a list of content parts."),
    "bad_content_part": Rule("error", "Write parts as the API takes them: text, and in user messages image_url."),
    "bad_name": Rule("error", "Leave the name out, or write it as text."),
    "bad_weight": Rule("error", "Use 0 or 1, on assistant messages alone."),
    "bad_tools": Rule("error", "Write tools as the API takes them: type function, with a name and parameters."),
    "bad_tool_call": Rule("error", "Write the call as the API does; arguments are a string of JSON."),
    "unanswered_tool_call": Rule("error", "Follow every tool call with a tool message of the same tool_call_id."),
    "unknown_tool_call_id": Rule("error", "A tool message must answer a call that the assistant made before it."),
    "unknown_tool": Rule("warning", "Declare every tool that is called in the example's tools."),
    "too_many_images": Rule("error", "Leave images out until the example keeps the limit."),
    "image_too_large": Rule("warning", "Scale the image down: the provider skips the example."),
    "bad_image": Rule("warning", "Use JPEG, PNG or WEBP, as an https address or a data address in base64."),
    "image_in_answer": Rule("error", "Put images into user messages."),
    "unsupported_by_server": Rule("error", "Leave it out, or train elsewhere: --provider openai checks for that."),
    "wrong_method": Rule("error", "Choose the method that these examples are made for, or other examples."),
    "wrong_model": Rule(
        "error",
        "Choose a chat model, or give every row one prompt and one completion, and nothing else.",
    ),
    "no_assistant_message": Rule("error", "End the conversation with the answer that the model should learn."),
    "nothing_to_learn": Rule("error", "Give at least one assistant message the weight 1."),
    "bad_preference": Rule("error", "Give input.messages, and one assistant message each as preferred and not."),
    "same_preference": Rule("warning", "Two equal answers teach nothing; remove the pair."),
    "prompt_ends_with_answer": Rule("error", "End the conversation with the user's message."),
    "missing_grader_fields": Rule("warning", "Add what the grader compares with, such as reference_answer."),
    # What follows from errors comes after them
    "too_few_examples": Rule("error", "Add examples; 50 to 100 good ones are a fair start."),
    # What is allowed and seldom intended
    "unknown_example_key": Rule(
        "warning",
        "Rename the key, or put what it says into the messages: as it is, the training file and --fix leave it out.",
        "other_keys_dropped",
        is_said_once=True,
    ),
    "key_left_out": Rule(
        "note",
        "No action needed: the training file leaves it out, and so does --fix.",
        "other_keys_dropped",
        is_said_once=True,
    ),
    "empty_system": Rule(
        "warning",
        "Write the instructions, or remove the message: the training file leaves it out, and so does --fix.",
        "empty_system_dropped",
    ),
    "last_message_not_assistant": Rule(
        "warning",
        "Check that no answer is missing. What follows the last answer teaches nothing: the training file leaves "
        "it out, and so does --fix.",
        "ending_dropped",
    ),
    "no_user_message": Rule("warning", "Let the user say something first, as in a real conversation."),
    "system_not_first": Rule("warning", "Put the system message first."),
    "over_context": Rule("warning", "Shorten the example: the provider cuts its end off, and that is the answer."),
    "very_long_example": Rule("warning", "Split it into parts or remove it: few models accept this much."),
    "not_a_value": Rule("warning", "This looks like a missing value: fill in the intended text, or drop the row."),
    "text_is_number": Rule("warning", "Check that this is the right column: every one of its texts is a number."),
    "odd_characters": Rule("warning", "Save the text again as UTF-8: some of it was decoded wrongly, or is invisible."),
    "unused_column": Rule(
        "warning", "No action needed if it is not meant to be learned. The message says what reads it."
    ),
    "system_conflict": Rule("warning", "The conversation's own is kept; leave one of them out."),
    "numbered_labels": Rule(
        "note",
        "No action needed if numbers are meant; where they stand for names, put the names into a column and name it.",
    ),
    "structured_cells": Rule("warning", "No action needed if JSON is meant; a template reads a field: {column.field}."),
    "byte_order_mark": Rule(
        "note",
        "No action needed: the byte order mark is ignored. --fix writes the file without it.",
        "byte_order_mark_removed",
    ),
    "windows_line_ends": Rule(
        "note", "No action needed: they are read as line ends. --fix writes plain ones.", "line_ends_replaced"
    ),
    "separator_missing": Rule("warning", "End every prompt, and every completion, in the same way, or none of them."),
    "stray_whitespace": Rule("warning", "Trim the texts; --fix does. The model would learn the spaces.", "trimmed"),
    # Logged calls
    "answer_cut": Rule(
        "warning", "Leave these calls out, or complete the answers: the model would learn to break off."
    ),
    "choices_left_out": Rule(
        "warning", "No action needed if the first answer is the one that was used; otherwise put it first."
    ),
    "log_items_left_out": Rule("warning", "Check that the answers can be known without: no training file takes these."),
    # One message a row
    "conversations_assumed": Rule(
        "warning",
        "To change this: --conversation-column names the column of the conversation, --conversation-start says where "
        "one begins (whole, system, pause or question), --assistant-role says who the assistant is.",
    ),
    "conversations_left_out": Rule(
        "warning", "Check who is the assistant (--assistant-role); otherwise no action is needed."
    ),
    "branches_left_out": Rule(
        "warning", "Of several answers to one message the best or first is used; no action needed if that is intended."
    ),
    "messages_left_out": Rule("warning", "Check that they hold nothing to learn, or name another --text-column."),
    "times_not_read": Rule(
        "warning",
        "No action needed if the rows are in the order in which they were sent; otherwise --day-first, --month-first "
        "or another --time-column, or write times as 2025-03-01 10:30:00.",
    ),
    "ties_newest_first": Rule(
        "note", "No action needed if the newest rows come first; otherwise write more precise times."
    ),
    "messages_unplaced": Rule("warning", "Write a time or number into every row, or name another --time-column."),
    "messages_joined": Rule("note", "No action needed: turns alternate in what is trained."),
    # What should not leave the building
    "private_key": Rule("warning", "Remove it, and replace the key: it was stored as training data."),
    "api_key": Rule("warning", "Remove it, and revoke the key: it was stored as training data."),
    "card_number": Rule("warning", "Mask it: the model may repeat it to anyone."),
    "email_address": Rule("warning", "Mask it, unless it is meant to be learned."),
    # Across examples
    "duplicate_example": Rule(
        "warning", "Keep one of them, unless it should weigh more; --fix does.", "duplicate_dropped"
    ),
    "conflicting_answers": Rule("warning", "Decide on one answer; the model can't learn both."),
    "conflicting_preference": Rule("warning", "Decide which answer is better; each pair undoes the other."),
    "near_duplicate_across_splits": Rule("warning", "Remove one, or give both the same value of a group column."),
    "few_held_out": Rule("warning", "Hold out more, or add examples: a result on so few says little."),
    "same_answer_everywhere": Rule("warning", "Check the assistant column: there is nothing to distinguish."),
    "label_seen_once": Rule("warning", "Add examples of this label, or merge it with another."),
    "imbalanced_labels": Rule("warning", "Add examples of the rare labels, or judge by macro F1 and not by accuracy."),
}
"""Every kind of problem, in the order in which they are shown: errors are put before warnings."""
