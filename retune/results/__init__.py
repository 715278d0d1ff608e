"""What a job leaves behind: metrics, figures, report."""
