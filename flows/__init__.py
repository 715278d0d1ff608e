"""What a person runs, schedules or triggers: composition only."""

from retune.extras import require

require("`flows`, the pipeline,", "pipeline")
