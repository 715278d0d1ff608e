"""Put the test questions to a model and score its answers."""

from prefect import task

from retune.config import EvaluationConfig, ProviderConfig
from retune.data.jsonl import FileFacts, write_jsonl
from retune.evaluation.answers import answer_examples
from retune.evaluation.examples import read_examples
from retune.evaluation.scorers import score_answers
from retune.provider.client import build_client
from retune.run import Run
from tasks.policies import PERSISTED, retried
from tasks.progress import ProgressReport
from tasks.values import Evaluation, Role


# Not cached: the file of answers is, answer by answer, and what could not be answered is asked again.
@task(task_run_name="evaluate_model-{role}", **retried(5, 30), **PERSISTED)
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
        ProviderError: What concerns every request: nothing answers, the key is refused, the credit is used up.
    """
    limit = None if evaluation.max_examples == "auto" else evaluation.max_examples
    examples = read_examples(test_file.path, limit=limit)
    answers_path = run.path("answers", f"{role}.jsonl")
    key = f"evaluation-{role.replace('_', '-')}-{run.key[:12]}"
    async with (
        build_client(provider) as client,
        ProgressReport(key=key, step="evaluate", description=f"Test examples answered by {model}") as progress,
    ):
        answers = await answer_examples(
            client,
            model,
            examples,
            concurrency=evaluation.concurrency,
            max_tokens=evaluation.max_tokens,
            temperature=evaluation.temperature,
            answers_path=answers_path,
            on_progress=progress.advance,
        )
    results = run.path("answers", f"{role}_scored.jsonl")
    write_jsonl(results, (answer.model_dump(mode="json") for answer in answers))
    return Evaluation(run=run, role=role, model=model, answers=results, scores=score_answers(answers))
