"""Base models, token counts, and what a training costs."""
