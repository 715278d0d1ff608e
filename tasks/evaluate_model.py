"""Put the test questions to a model and score its answers."""

from retune.config import EvaluationConfig, ProviderConfig
from retune.data.text.jsonl import FileFacts, write_jsonl
from retune.errors import ProviderError
from retune.evaluation.answers import answer_examples
from retune.evaluation.examples import Answer, read_examples
from retune.evaluation.scorers import score_answers
from retune.provider.models import wait_for_model
from retune.run import Run
from tasks.runtime.progress import ProgressReport
from tasks.runtime.provider_client import provider_client
from tasks.runtime.steps import PERSISTED, step
from tasks.runtime.values import Evaluation, Role

# Right after a job's success a provider may not know the model yet.
_MODEL_APPEARS_WITHIN_SECONDS = 300.0


# Not cached: the file of answers is, answer by answer, and what could not be answered is asked again.
@step("evaluate", task_run_name="evaluate_model-{role}", **PERSISTED)
async def evaluate_model(
    run: Run, role: Role, model: str, *, test_file: FileFacts, evaluation: EvaluationConfig, provider: ProviderConfig
) -> Evaluation:
    """Ask a model all test examples, several at once, and score what it says.

    Every answer is kept as it comes, so that a retry or a rerun asks only for the missing ones.

    Args:
        run: The run whose directory keeps the answers.
        role: `base` or `fine_tuned`; names the file of answers.
        model: The model to ask.
        test_file: Chat JSONL whose last assistant messages are the expected answers.
        evaluation: Concurrency, limits and temperature.
        provider: Who answers.

    Raises:
        ProviderError: What concerns every request: nothing answers, the key is refused, the credit is used up; or the
            fine-tuned model answers nothing. A base model that answers nothing is shown as such instead.
    """
    limit = None if evaluation.max_examples == "auto" else evaluation.max_examples
    examples = read_examples(test_file.path, limit=limit)
    key = f"evaluation-{role.replace('_', '-')}-{run.key[:12]}"
    async with (
        await provider_client(provider) as client,
        ProgressReport(key=key, step="evaluate", description=f"Test examples answered by {model}") as progress,
    ):
        if role == "fine_tuned":
            await wait_for_model(client, model, patience_seconds=_MODEL_APPEARS_WITHIN_SECONDS)
        answers = await answer_examples(
            client,
            model,
            examples,
            concurrency=evaluation.concurrency,
            max_tokens=evaluation.max_tokens,
            temperature=evaluation.temperature,
            answers_path=run.path("answers", f"{role}.jsonl"),
            on_progress=progress.advance,
        )
    return _scored(run, role, model, answers)


def _scored(run: Run, role: Role, model: str, answers: list[Answer]) -> Evaluation:
    scores = score_answers(answers)
    if role == "fine_tuned" and answers and scores.n_answered == 0:
        raise ProviderError(
            f"{model} answered none of {scores.n} test examples: {scores.commonest_error}",
            hint="Run the same command again, and only the evaluation is repeated. "
            "Where the model was deleted, --attempt TEXT trains a new one.",
        )
    results = run.path("answers", f"{role}_scored.jsonl")
    write_jsonl(results, (answer.model_dump(mode="json") for answer in answers))
    return Evaluation(run=run, role=role, model=model, answers=results, scores=scores)
