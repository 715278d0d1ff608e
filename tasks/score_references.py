"""Answer the test questions without a language model, as a floor for the models' scores."""

import asyncio

from retune.choices import Auto
from retune.data.text.jsonl import write_jsonl
from retune.evaluation.examples import read_examples
from retune.evaluation.references import MOST_TRAINING_EXAMPLES, answer_by_references
from retune.evaluation.scorers import score_answers
from tasks.runtime.steps import PERSISTED, by_content, step
from tasks.runtime.values import References, TrainingFiles


@step("floor", cache_policy=by_content(), **PERSISTED)
async def score_references(files: TrainingFiles, max_examples: int | Auto) -> References:
    """Score the commonest answer and a classifier on the test split; nothing where answers are open text.

    See `retune.evaluation.references`. The answers are kept beside those of the models.
    """
    return await asyncio.to_thread(_score, files, max_examples)


def _score(files: TrainingFiles, max_examples: int | Auto) -> References:
    run, made = files.run, References(run=files.run)
    if files.test is None:
        return made
    limit = None if max_examples == "auto" else max_examples
    test = read_examples(files.test.path, limit=limit)
    train = read_examples(files.train.path, limit=MOST_TRAINING_EXAMPLES, spread_over=files.train.examples)
    for reference in answer_by_references(train, test):
        path = run.path("answers", f"{reference.name}_scored.jsonl")
        write_jsonl(path, (answer.model_dump(mode="json") for answer in reference.answers))
        made.answers[reference.name] = path
        made.scores[reference.name] = score_answers(reference.answers)
    return made
