"""What a person runs, schedules or triggers: composition only."""
