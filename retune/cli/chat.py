"""`retune chat`: talk to a model, fine-tuned or not."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from retune.cli.connection import BaseUrl, DataDirectory
from retune.cli.terminal import print_line, print_piece, print_quietly, read_line
from retune.local.connection import provider_connection

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionMessageParam

    from retune.config import ProviderConfig


def chat(
    model: Annotated[str, typer.Argument(help="Name of the model: ft:… or a base model.", metavar="MODEL")],
    *,
    message: Annotated[
        str | None,
        typer.Option("--message", "-m", help="Send this message, print the answer, and exit.", metavar="TEXT"),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="System prompt.", metavar="TEXT")] = None,
    temperature: Annotated[float, typer.Option(help="Sampling temperature.", min=0, max=2)] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.", min=1)] = 512,
    base_url: BaseUrl = None,
    data_dir: DataDirectory = None,
) -> None:
    """Talk to a model. One message with --message or from a pipe; otherwise a conversation, ended by Ctrl-D."""
    import asyncio  # noqa: PLC0415 - takes a while to import

    if message is None and not sys.stdin.isatty():
        message = sys.stdin.read().strip()
    opening: list[ChatCompletionMessageParam] = [{"role": "system", "content": system}] if system else []
    with provider_connection(base_url, data_dir) as config:
        conversation = _Conversation(config, model, opening, temperature=temperature, max_tokens=max_tokens)
        # A loop of its own that lives from turn to turn: a line that is waited for inside it could not be interrupted.
        with asyncio.Runner() as loop:
            if message is not None:
                loop.run(conversation.say(message))
            else:
                conversation.go_on(loop)


class _Conversation:
    def __init__(
        self,
        config: "ProviderConfig",
        model: str,
        opening: "list[ChatCompletionMessageParam]",
        *,
        temperature: float,
        max_tokens: int,
    ) -> None:
        self._config = config
        self._model = model
        self._messages = opening
        self._temperature = temperature
        self._max_tokens = max_tokens

    def go_on(self, loop: "asyncio.Runner") -> None:
        print_quietly(f"Talking to {self._model}. Ctrl-D ends.")
        while (text := read_line("you › ")) is not None:
            if text.strip():
                loop.run(self.say(text))

    async def say(self, text: str) -> None:
        from retune.provider.client import build_client  # noqa: PLC0415 - the SDK takes over a second to import

        async with build_client(self._config) as client:
            await self._say(client, text)

    async def _say(self, client: "AsyncOpenAI", text: str) -> None:
        from retune.provider.errors import provider_call  # noqa: PLC0415

        pieces: list[str] = []
        async with provider_call(f"talking to {self._model}"):
            async for piece in self._pieces(client, text):
                pieces.append(piece)
                print_piece(piece)
        print_line("")
        self._messages += [{"role": "user", "content": text}, {"role": "assistant", "content": "".join(pieces)}]

    async def _pieces(self, client: "AsyncOpenAI", text: str) -> "AsyncIterator[str]":
        """The answer as it is generated; a model that completes prompts gets only the last message."""
        from retune.data.cost.base_models import completes_prompts  # noqa: PLC0415

        if completes_prompts(self._model):
            completion = await client.completions.create(
                model=self._model,
                prompt=text,
                temperature=self._temperature,
                max_tokens=self._max_tokens,
                stream=True,
            )
            async for part in completion:
                if part.choices:
                    yield part.choices[0].text
            return
        stream = await client.chat.completions.create(
            model=self._model,
            messages=[*self._messages, {"role": "user", "content": text}],
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            stream=True,
        )
        async for chunk in stream:
            if chunk.choices and (piece := chunk.choices[0].delta.content):
                yield piece
