"""What people write to check a chat file: every line parsed, every message's tokens counted, as OpenAI's cookbook does.

python token_counting_loop.py FILE OUTPUT_DIRECTORY      (nothing is written)

The tokenizer is the one that Retune uses, by its public interface, which is tiktoken's.
"""

import json
import sys
from pathlib import Path

import bpe_openai


def main(file: Path) -> None:
    encoding = bpe_openai.get_encoding("o200k_base")
    total = 0
    with file.open("rb") as lines:
        for line in lines:
            total += 1
            for message in json.loads(line)["messages"]:
                total += 3 + len(encoding.encode(message["role"])) + len(encoding.encode(message["content"]))
    print(f"{total:,} tokens", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
