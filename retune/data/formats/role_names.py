"""What programs call the sides of a conversation, and which role of the API each is."""

import re
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]

_NAMES: dict[Role, str] = {
    "user": "user human prompter customer client visitor guest member enduser requester contact caller buyer patient "
    "student person lead inbound incoming 用户 使用者 顾客 客户 客戶 访客 ユーザー お客様 顧客 質問者 利用者",
    "assistant": "assistant gpt chatgpt bot chatbot ai model agent bing bard claude gemini llama llm operator support "
    "supportagent customersupport advisor representative rep staff employee admin helpdesk seller outbound "
    "outgoing 助手 助理 机器人 客服 智能助手 アシスタント ボット オペレーター 担当者 サポート",
    "system": "system developer systemprompt instruction 系统 システム",
    "tool": "tool function",
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names.split()}
_BETWEEN_WORDS = re.compile(r"[\s_.\-]+")


def words(text: str) -> tuple[str, ...]:
    """The words of a text, for lists of names that are easier to read without quotes and commas."""
    return tuple(text.split())


def role_of(said: Any) -> Role | None:
    """The role that a word stands for, whatever its case; None where it is not known."""
    return _ROLES.get(plain_name(said)) if isinstance(said, str) else None


def plain_name(text: str) -> str:
    """A name without case, and without what stands between its words: "isSender" and "is_sender" are the same."""
    return _BETWEEN_WORDS.sub("", text.strip().casefold())
