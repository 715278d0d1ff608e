"""What all steps share: how they are retried, cached, timed, cancelled, and what they pass on."""
