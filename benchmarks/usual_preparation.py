"""What people write to prepare a table for fine-tuning: pandas, scikit-learn's split, `.at` and `json.dumps`.

python usual_preparation.py TABLE OUTPUT_DIRECTORY
"""

import json
import sys
from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split


def main(table: Path, output: Path) -> None:
    rows = pd.read_csv(table)
    train, rest = train_test_split(rows, test_size=0.2, random_state=42)
    validation, test = train_test_split(rest, test_size=0.5, random_state=42)
    for name, split in (("train", train), ("validation", validation), ("test", test)):
        part = split.reset_index(drop=True)
        with (output / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for index in range(len(part)):
                messages = [
                    {"role": "user", "content": part.at[index, "question"]},
                    {"role": "assistant", "content": part.at[index, "answer"]},
                ]
                file.write(json.dumps({"messages": messages}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
