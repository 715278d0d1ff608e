"""Retune keeps a fine-tuned chat model fresh.

    import retune

    result = retune.check("tickets.csv")
    print(result.n_errors, result.cost)

Every name in `__all__` is public and typed; all but the errors are imported when they are first used, since pydantic,
NumPy and Arrow take a second to import. The pipeline itself is `from flows.retrain import retrain`.
"""

from typing import TYPE_CHECKING

from retune.errors import (
    AnnouncementError,
    AuthenticationFailedError,
    CheckError,
    ConfigError,
    DataError,
    EmptySourceError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobVanishedError,
    JobWaitTimeoutError,
    MissingExtraError,
    ModelEndedError,
    OverBudgetError,
    PrefectGoneError,
    ProviderError,
    ProviderUnreachableError,
    QuotaExceededError,
    ResultsError,
    RetuneError,
    RunBusyError,
    RunDirectoryError,
    RunStoppedError,
    SecretInSettingsError,
    ServerError,
    SourceError,
    TrainerError,
    TrainingNotAvailableError,
    UnclearJobError,
    UnexpectedAnswerError,
)

if TYPE_CHECKING:
    from retune.check_result import CheckResult, FixResult, TokenBin
    from retune.check_source import CheckProgress, check
    from retune.config import (
        DataConfig,
        EvaluationConfig,
        HyperparametersConfig,
        LimitsConfig,
        MessageRowsConfig,
        ProviderConfig,
        RetrainConfig,
        SplitConfig,
        TrainingConfig,
    )
    from retune.config_file import load_config, parse_config
else:
    _MODULES = {
        "retune.check_result": ("CheckResult", "FixResult", "TokenBin"),
        "retune.check_source": ("CheckProgress", "check"),
        "retune.config": (
            "DataConfig",
            "EvaluationConfig",
            "HyperparametersConfig",
            "LimitsConfig",
            "MessageRowsConfig",
            "ProviderConfig",
            "RetrainConfig",
            "SplitConfig",
            "TrainingConfig",
        ),
        "retune.config_file": ("load_config", "parse_config"),
    }
    _MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - only where something is used

        value = getattr(import_module(_MODULE_OF[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "AnnouncementError",
    "AuthenticationFailedError",
    "CheckError",
    "CheckProgress",
    "CheckResult",
    "ConfigError",
    "DataConfig",
    "DataError",
    "EmptySourceError",
    "EvaluationConfig",
    "FixResult",
    "HyperparametersConfig",
    "JobCancelledError",
    "JobError",
    "JobFailedError",
    "JobVanishedError",
    "JobWaitTimeoutError",
    "LimitsConfig",
    "MessageRowsConfig",
    "MissingExtraError",
    "ModelEndedError",
    "OverBudgetError",
    "PrefectGoneError",
    "ProviderConfig",
    "ProviderError",
    "ProviderUnreachableError",
    "QuotaExceededError",
    "ResultsError",
    "RetrainConfig",
    "RetuneError",
    "RunBusyError",
    "RunDirectoryError",
    "RunStoppedError",
    "SecretInSettingsError",
    "ServerError",
    "SourceError",
    "SplitConfig",
    "TokenBin",
    "TrainerError",
    "TrainingConfig",
    "TrainingNotAvailableError",
    "UnclearJobError",
    "UnexpectedAnswerError",
    "check",
    "load_config",
    "parse_config",
]
