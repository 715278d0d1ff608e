"""Any number of models on the same examples: asked, scored, and each compared with the first."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import openai
from pydantic import BaseModel, ConfigDict

from retune.config import EvaluationConfig
from retune.evaluation.answers import answer_examples
from retune.evaluation.comparison import ComparisonRow, compare
from retune.evaluation.examples import Answer, EvaluationExample
from retune.evaluation.measures import score_differences
from retune.evaluation.scorers import Scores, score_answers
from retune.evaluation.statistics import Difference

# Model, examples that are done, examples.
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class ModelToAsk:
    """A model, and who has it.

    Attributes:
        model: Its name there.
        host: `local` for the server of this machine, whose port changes, else its whole address: a gateway has many
            providers at one host. Kept answers belong to it.
        client: With `max_retries=0`.
    """

    model: str
    host: str
    client: openai.AsyncOpenAI


class EvaluatedModel(BaseModel):
    """One model's scores, and how they differ from those of the first one.

    Attributes:
        model: Its name at its host.
        host: Its address, or `local` for the server of this machine.
        scores: On all examples.
        rows: The scores of the first model (`base`) and of this one (`fine_tuned`) beside each other; for the first
            model both are its own.
        difference: This model against the first, in the score of `rows[0]`: chrF for open text, else exact match; None
            for the first.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    host: str
    scores: Scores
    rows: list[ComparisonRow]
    difference: Difference | None = None


class ModelsEvaluation(BaseModel):
    """Models on the same examples, in the order in which they were named."""

    model_config = ConfigDict(frozen=True)

    n: int
    models: list[EvaluatedModel]

    @property
    def titles(self) -> list[str]:
        """The models' names, with their hosts where not all are at one."""
        is_one_host = len({model.host for model in self.models}) == 1
        return [model.model if is_one_host else f"{model.model} at {model.host}" for model in self.models]

    @property
    def silent(self) -> list[EvaluatedModel]:
        """The models that answered nothing."""
        return [model for model in self.models if not model.scores.n_answered]


async def evaluate_models(
    models: Sequence[ModelToAsk],
    examples: Sequence[EvaluationExample],
    evaluation: EvaluationConfig,
    *,
    answers_directory: Path,
    on_progress: OnProgress = lambda _model, _done, _total: None,
) -> ModelsEvaluation:
    """Ask models all examples, one model after the other, and score what they say.

    Answers are kept, so the same question to the same model is asked once, and paid once.

    Args:
        models: Whom to ask; each is compared with the first.
        examples: What to ask, and what the answers should be.
        evaluation: Concurrency, limits and temperature; `max_examples` is for whoever read the examples.
        answers_directory: Where answers are kept, a file a model.
        on_progress: Called after each answer.

    Raises:
        ProviderError: What concerns every request: nothing answers, the key is refused, the credit is used up.
        RunDirectoryError: The directory can't be used.
    """
    answers: list[list[Answer]] = []
    for one in models:

        def report(done: int, total: int, model: str = one.model) -> None:
            on_progress(model, done, total)

        answers.append(
            await answer_examples(
                one.client,
                one.model,
                examples,
                concurrency=evaluation.concurrency,
                max_tokens=evaluation.max_tokens,
                temperature=evaluation.temperature,
                answers_path=_answers_path(answers_directory, one),
                on_progress=report,
            )
        )
    return ModelsEvaluation(n=len(examples), models=_compared(models, answers))


def _answers_path(directory: Path, model: ModelToAsk) -> Path:
    # A model's name may hold anything, and two hosts may have one of the same name.
    digest = hashlib.sha256(f"{model.host}\n{model.model}".encode("utf-8", "surrogatepass")).hexdigest()
    return directory / f"{digest[:32]}.jsonl"


def _compared(models: Sequence[ModelToAsk], answers: Sequence[Sequence[Answer]]) -> list[EvaluatedModel]:
    first, compared = score_answers(answers[0]), []
    for position, (model, given) in enumerate(zip(models, answers, strict=True)):
        differences = score_differences(answers[0], given) if position else {}
        scores = score_answers(given)
        compared.append(
            EvaluatedModel(
                model=model.model,
                host=model.host,
                scores=scores,
                rows=compare(first, scores, differences),
                difference=differences.get("chrf", differences.get("exact_match")),
            )
        )
    return compared
