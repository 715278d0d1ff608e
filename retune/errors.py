"""Every error that Retune raises on purpose.

RetuneError
├── ConfigError (ValueError)            a setting is missing, unknown or out of bounds
│   ├── OverBudgetError                 the training would cost more than the settings allow
│   └── ModelEndedError                 the provider takes no new jobs on the base model any more
├── MissingExtraError (ImportError)     an extra of the package, such as retune[server], is not installed
├── SecretInSettingsError (RuntimeError) a setting holds a secret, which would be stored with the others
├── DataError (ValueError)              the user's data can't be used
│   ├── SourceError                     the source can't be read at all
│   │   └── EmptySourceError            it is there, and there is nothing in it
│   └── CheckError                      it was read, and the checks found errors in it
├── ProviderError (RuntimeError)        the fine-tuning API said no
│   ├── ProviderUnreachableError        nothing answered at its address
│   ├── UnexpectedAnswerError           something else than the API answers there
│   ├── AuthenticationFailedError       the API key is missing or refused
│   ├── QuotaExceededError              out of credit: waiting will not help
│   ├── TrainingNotAvailableError       the provider takes no fine-tuning jobs from this account
│   └── UnclearJobError                 nobody can say whether the provider has created a job
├── JobError (RuntimeError)             a fine-tuning job did not succeed
│   ├── JobFailedError                  the provider ended it with an error
│   ├── JobCancelledError               somebody cancelled it
│   ├── JobVanishedError                the provider does not know it any more
│   └── JobWaitTimeoutError             it has not ended within the time that the settings allow
├── ResultsError (RuntimeError)         the results of a job can't be read
├── RunDirectoryError (RuntimeError)    the run's directory can't be used
│   └── RunBusyError                    another process is working on the same run
├── RunStoppedError (RuntimeError)      the run was cancelled, or rescheduled too often
├── AnnouncementError (RuntimeError)    Prefect took no word of new data
├── ServerError (RuntimeError)          a server that Retune needs can't start or go on
│   └── PrefectGoneError                Prefect's server stopped answering during a run
└── TrainerError (RuntimeError)         a trainer can't train or answer

A message says what was expected, what was found and where; `hint` says what to do next. The command line shows
both on stderr and exits with status 1, `retune check` with 2 unless it is a CheckError; `--debug` adds the traceback.
"""


class RetuneError(Exception):
    """Base of all errors that Retune raises on purpose.

    Args:
        message: What was expected, what was found, and where.
        hint: What to do next, as a sentence.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Prefect and multiprocessing pickle exceptions; keyword arguments would be lost on the way.
        return _rebuild, (type(self), self.message, self.__dict__)


def _rebuild(cls: type[RetuneError], message: str, attributes: dict[str, object]) -> RetuneError:
    error = cls.__new__(cls, message)
    Exception.__init__(error, message)
    error.__dict__.update(attributes)
    return error


class ConfigError(RetuneError, ValueError):
    """A setting is missing, unknown or out of bounds."""


class OverBudgetError(ConfigError):
    """The training would cost more than the settings allow, or nobody can say what it costs."""


class ModelEndedError(ConfigError):
    """By its published dates the provider takes no new jobs on the base model, or what is trained would not answer."""


class MissingExtraError(RetuneError, ImportError):
    """An extra of the package, such as retune[server], is not installed.

    Args:
        message: What needs it, and the command that installs it.
        extras: The names of the missing extras.
    """

    def __init__(self, message: str, *, extras: list[str]) -> None:
        super().__init__(message)
        self.extras = extras


class SecretInSettingsError(RetuneError, RuntimeError):
    """A setting holds a secret, which would be stored with the others."""


class DataError(RetuneError, ValueError):
    """The user's data can't be used."""


class SourceError(DataError):
    """The source can't be read at all: missing, of another format than it says, or unsafe to open."""


class EmptySourceError(SourceError):
    """The source is there and holds no examples."""


class CheckError(DataError):
    """The data was read, and the checks found errors in it."""


class ProviderError(RetuneError, RuntimeError):
    """The fine-tuning API said no, and asking again will not change that."""


class ProviderUnreachableError(ProviderError):
    """Nothing answered at the provider's address."""


class UnexpectedAnswerError(ProviderError):
    """Something answered at the provider's address, but not the API: a login page, say."""


class AuthenticationFailedError(ProviderError):
    """The API key is missing or refused."""


class QuotaExceededError(ProviderError):
    """The account is out of credit: waiting will not help."""


class TrainingNotAvailableError(ProviderError):
    """The provider takes no fine-tuning jobs from this account."""


class UnclearJobError(ProviderError):
    """Nobody can say whether the provider has created a job, so no other one is asked for."""


class JobError(RetuneError, RuntimeError):
    """A fine-tuning job did not succeed.

    Args:
        message: The provider's own words and what they mean.
        job_id: The job.
        code: The provider's error code, where it gave one.
        param: The request field that the provider blames, where it named one.
        hint: What to do next.
    """

    def __init__(
        self,
        message: str,
        *,
        job_id: str,
        code: str | None = None,
        param: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.job_id = job_id
        self.code = code
        self.param = param


class JobFailedError(JobError):
    """The provider ended the job with an error."""


class JobCancelledError(JobError):
    """Somebody cancelled the job."""


class JobVanishedError(JobError):
    """The provider does not know a job that it had."""


class JobWaitTimeoutError(JobError):
    """The job has not ended within the time that the settings allow; it was not cancelled."""


class ResultsError(RetuneError, RuntimeError):
    """The results of a job can't be read."""


class RunDirectoryError(RetuneError, RuntimeError):
    """The run's directory can't be used."""


class RunBusyError(RunDirectoryError):
    """Another process is working on the same run."""


class RunStoppedError(RetuneError, RuntimeError):
    """The run was cancelled, or it was rescheduled too often."""


class AnnouncementError(RetuneError, RuntimeError):
    """Prefect didn't take the event that new data is there."""


class ServerError(RetuneError, RuntimeError):
    """A server that Retune needs can't start or go on."""


class PrefectGoneError(ServerError):
    """Prefect's server stopped answering during a run."""


class TrainerError(RetuneError, RuntimeError):
    """A trainer can't train or answer."""
