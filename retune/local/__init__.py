"""The system on this machine: Prefect's server, the fine-tuning server, a worker, and what a run needs of them."""
