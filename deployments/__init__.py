"""What Prefect has to know: deployments, work pools, automations, limits, notifications; and the image."""
